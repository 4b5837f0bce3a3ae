"""Readiness on a real mount that becomes read-only or full, or hangs, while `maildir-safe serve` runs."""

from __future__ import annotations

import errno
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from smtp_support import Serve, Wire, until

from maildir_safe import Maildir, Queue
from maildir_safe.testing.faultmount import FaultMount

pytestmark = pytest.mark.mounts


def ready(serve: Serve) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(serve.told("Health"), timeout=30) as got:
            return got.status, got.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def greeting(serve: Serve) -> str:
    wire = Wire(serve.address, greeting="")
    wire.close()
    return wire.banner


def goes_down_and_comes_back(serve: Serve, why: str, mend: Callable[[], object]) -> None:
    until(lambda: ready(serve)[0] == 503)
    assert why in ready(serve)[1]
    assert greeting(serve).startswith("421 4.3.0")
    mend()
    until(lambda: ready(serve) == (200, "ready\n"))
    assert greeting(serve).startswith("220")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "small"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", where], check=True)
    yield where
    subprocess.run(["umount", "-l", where], check=True)


@pytest.mark.parametrize("flags", [(), ("--queue", "small/S")])
def test_a_mount_that_turns_read_only_or_full(tmp_path: Path, small: Path, flags: tuple[str, ...]) -> None:
    serve = Serve(tmp_path, *(flags or ["small/M"]), "--metrics", "127.0.0.1:0")
    assert "durability" in serve.banner
    assert ready(serve) == (200, "ready\n")

    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", small], check=True)

    try:
        remount("ro")
        goes_down_and_comes_back(serve, "Read-only file system", lambda: remount("rw"))
        filler = small / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(b"x" * (1 << 20))
        goes_down_and_comes_back(serve, "No space left on device", filler.unlink)
    finally:
        code, log = serve.end()
    assert code == 0, log


def test_the_banner_promises_nothing_of_a_read_only_or_full_mount(tmp_path: Path, small: Path) -> None:
    Serve(tmp_path, "small/M").end()
    (small / "filler").touch()
    with pytest.raises(OSError, match="No space left"):
        (small / "filler").write_bytes(b"x" * (1 << 20))
    banners = []
    for how in ("rw", "ro"):
        subprocess.run(["mount", "-o", f"remount,{how}", small], check=True)
        serve = Serve(tmp_path, "small/M")
        banners.append(serve.banner)
        serve.end()
    assert "No space left on device" in banners[0]
    assert "Read-only file system" in banners[1]
    assert "durability" not in "".join(banners)


def test_a_mount_that_hangs_or_fails(tmp_path: Path) -> None:
    (tmp_path / "backing").mkdir()
    with FaultMount(tmp_path / "backing") as mount:
        serve = Serve(tmp_path, str(mount.path / "M"), "--metrics", "127.0.0.1:0")
        assert ready(serve) == (200, "ready\n")
        mount.inject("rename", name="*.tried", held=True)
        goes_down_and_comes_back(serve, "no answer for", mount.release)
        mount.inject("fsync", errno.EIO, name="*.tried", times=None)
        goes_down_and_comes_back(serve, "Input/output error", mount.clear)
        code, log = serve.end()
        assert code == 0, log
    assert list((tmp_path / "backing" / "M" / "tmp").iterdir()) == []


@pytest.mark.parametrize("turned", ["read-only", "full"])
def test_working_once_a_spool_that_takes_nothing_is_75(tmp_path: Path, small: Path, turned: str) -> None:
    """On a read-only mount nothing can be claimed. On a full one a rename suffices, and the item is moved."""
    with Queue(small / "spool") as queue:
        queue.put(b"Subject: x\n\n", "a@b", ["c@d"])
    Maildir(small / "m")
    if turned == "full":
        with pytest.raises(OSError, match="No space left"):
            (small / "filler").write_bytes(b"x" * (1 << 20))
    else:
        subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    words = ["work", str(small / "spool"), "--to", f"maildir:{small}/m", "--once"]
    done = subprocess.run(
        [sys.executable, "-m", "maildir_safe", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    there = len(list((small / "m" / "new").iterdir()))
    if turned == "read-only":
        for looked_at in ("m", "spool"):
            fsck = [sys.executable, "-m", "maildir_safe", "fsck", str(small / looked_at)]
            assert subprocess.run(fsck, capture_output=True, check=False).returncode == 0
        assert (done.returncode, there) == (75, 0)
        assert "Read-only file system" in done.stderr
        subprocess.run(["mount", "-o", "remount,rw", small], check=True)
        with Queue(small / "spool", shared=False) as queue:
            assert queue.stats()["pending"] == 1
    else:
        assert (done.returncode == 0) == (there == 1), done.stderr
        assert done.returncode in (0, 75)
