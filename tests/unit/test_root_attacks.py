"""Root serves the Maildirs of users, and a user does with hers what she likes: nothing of root's changes."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from smtp_support import Wire, serving

from maildir_safe import Maildir, Queue
from maildir_safe._smtp.server.background import BackgroundServer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it is about what root must not do")

ALICE, BOB = 31001, 31002


class World:
    """Two users' homes with Maildirs, and a directory of root's that looks like a Maildir."""

    def __init__(self, top: Path) -> None:
        top.chmod(0o755)
        self.top, self.alice, self.bob, self.etc = top, top / "alice", top / "bob", top / "etc"
        for home, uid in ((self.alice, ALICE), (self.bob, BOB)):
            home.mkdir()
            for directory in (home / "Maildir", *(home / "Maildir" / name for name in ("tmp", "new", "cur"))):
                directory.mkdir()
                os.chown(directory, uid, uid)
            os.chown(home, uid, uid)
        Maildir(self.etc)
        (self.etc / "secret").write_text("root's")
        (self.etc / "secret").chmod(0o600)
        self.box = self.alice / "Maildir"
        self.before = self.look()

    def look(self) -> list[tuple[str, int, int, int, bytes]]:
        found = []
        for path in sorted([self.etc, *self.etc.rglob("*")]):
            state = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found.append((str(path), state.st_mode, state.st_uid, state.st_nlink, content))
        return found


@pytest.fixture
def world() -> Iterator[World]:
    top = Path(tempfile.mkdtemp(prefix="maildir-safe-root-"))
    yield World(top)
    shutil.rmtree(top)


def replaced(path: Path) -> Path:
    """The path, with nothing there any more."""
    with contextlib.suppress(FileNotFoundError):
        path.rename(path.with_name(path.name + ".away"))
    return path


def _link(part: str) -> Callable[[World], None]:
    def put(world: World) -> None:
        place = world.alice / part
        replaced(place).symlink_to(world.etc / place.name if place.parent.name == "Maildir" else world.etc)

    put.__name__ = f"link at {part}"
    return put


def a_home_that_is_a_link(world: World) -> None:
    (world.top / "etc2").mkdir()
    (world.top / "etc2/Maildir").symlink_to(world.etc)
    replaced(world.alice).symlink_to(world.top / "etc2")
    os.lchown(world.alice, ALICE, ALICE)


def a_fifo_for(part: str) -> Callable[[World], None]:
    def put(world: World) -> None:
        os.mkfifo(replaced(world.box / part), 0o666)

    put.__name__ = f"fifo at {part}"
    return put


def a_file_for(part: str) -> Callable[[World], None]:
    def put(world: World) -> None:
        replaced(world.box / part).write_text("x")

    put.__name__ = f"file at {part}"
    return put


def a_quota_that_is_roots_file(world: World) -> None:
    (world.box / "maildirsize").symlink_to(world.etc / "secret")


def a_quota_without_end(world: World) -> None:
    with (world.box / "maildirsize").open("wb") as file:
        file.truncate(1 << 40)
    os.chown(world.box / "maildirsize", ALICE, ALICE)


def a_quota_that_is_a_fifo(world: World) -> None:
    os.mkfifo(world.box / "maildirsize", 0o666)


def a_quota_that_is_a_directory(world: World) -> None:
    (world.box / "maildirsize").mkdir()


def no_rights(world: World) -> None:
    (world.box / "new").chmod(0)


def roots_directory_within(world: World) -> None:
    replaced(world.box / "tmp").mkdir(0o755)


MISCHIEF = [
    _link("Maildir"), _link("Maildir/tmp"), _link("Maildir/new"), _link("Maildir/cur"), a_home_that_is_a_link,
    *map(a_fifo_for, ("tmp", "new", "cur")), *map(a_file_for, ("tmp", "new")),
    a_quota_that_is_roots_file, a_quota_without_end, a_quota_that_is_a_fifo, a_quota_that_is_a_directory,
    no_rights, roots_directory_within,
]  # fmt: skip


def send(server: BackgroundServer, *recipients: str) -> str:
    wire = Wire(server.service.smtp_addresses[0])
    wire.ask("EHLO x")
    wire.ask("MAIL FROM:<a@b>")
    accepted = [wire.ask(f"RCPT TO:<{name}@x>") for name in recipients]
    refused = [reply for reply in accepted if not reply.startswith("250")]
    answer = refused[0] if refused else wire.ask("DATA")
    if answer.startswith("354"):
        answer = wire.ask("Subject: x\r\n\r\ntext\r\n.")
    wire.close()
    return answer


@pytest.mark.parametrize("mischief", MISCHIEF, ids=lambda one: one.__name__)
def test_a_users_mischief_hurts_only_her_own_mail(world: World, mischief: Callable[[World], None]) -> None:
    with serving(world.top, map=f"{world.top}/{{local}}/Maildir") as server:
        # once before the server has opened her Maildir, once after; a directory that may not be listed when
        # it is open is looked at for 35 seconds, which holds up her mail alone
        for known in (False,) if mischief is no_rights else (False, True):
            if known:
                shutil.rmtree(world.top / "alice", ignore_errors=True)
                for path in world.top.glob("alice*"):
                    path.unlink() if path.is_symlink() else shutil.rmtree(path)
                shutil.rmtree(world.top / "etc2", ignore_errors=True)
                shutil.rmtree(world.etc)
                shutil.rmtree(world.bob)
                world = World(world.top)
                assert send(server, "alice").startswith("250")
            mischief(world)
            answer = send(server, "alice")
            assert answer[:1] in ("2", "4"), answer  # her mail waits; it is not sent back
            assert world.look() == world.before
            assert send(server, "bob").startswith("250")
    assert {path.stat().st_uid for path in (world.bob / "Maildir/new").iterdir()} == {BOB}


def test_a_maildir_that_is_swapped_again_and_again(world: World) -> None:
    """Each part in turn, as fast as it goes, while mail arrives: nothing comes into root's directory."""
    stop = threading.Event()

    def swap() -> None:
        away = world.alice / "away"
        while not stop.is_set():
            for part in (world.box, world.box / "tmp", world.box / "new"):
                part.rename(away)
                part.symlink_to(world.etc / part.name if part != world.box else world.etc)
                part.unlink()
                away.rename(part)

    with serving(world.top, map=f"{world.top}/{{local}}/Maildir") as server:
        assert send(server, "alice").startswith("250")
        thread = threading.Thread(target=swap)
        thread.start()
        try:
            answers = [send(server, "alice") for _ in range(40)]
        finally:
            stop.set()
            thread.join()
    assert {answer[:1] for answer in answers} <= {"2", "4"}
    assert world.look() == world.before
    stored = sum(answer.startswith("250") for answer in answers) + 1
    there = [path for path in world.box.rglob("*") if path.is_file() and path.parent.name in ("new", "cur")]
    assert len(there) >= stored
    assert {path.stat().st_uid for path in there} == {ALICE}


# qmail-queue


def qmail_queue(spool: Path, stdin: int, envelope: int, **more: object) -> int:
    config = spool.parent / "sendmail.toml"
    config.write_text(f'spool = "{spool}"\nsize_limit = 100000\n')
    command = [sys.executable, "-m", "maildir_safe", "qmail-queue"]
    environment = {**os.environ, "MAILDIR_SAFE_SENDMAIL_CONFIG": str(config)}
    done = subprocess.run(command, stdin=stdin, stdout=envelope, stderr=subprocess.PIPE, env=environment,
                          check=False, timeout=60, **more)  # type: ignore[call-overload] # fmt: skip
    return int(done.returncode)


@pytest.fixture
def spool(world: World) -> Path:
    Queue(world.alice / "spool")
    for path in (world.alice / "spool").rglob("*"):
        os.chown(path, ALICE, ALICE)
    os.chown(world.alice / "spool", ALICE, ALICE)
    return world.alice / "spool"


@pytest.mark.parametrize(
    ("stdin", "envelope", "code"),
    [("/dev/zero", "", 31), ("", "/dev/zero", 31), ("/", "", 1), ("", "/", 1)],  # 1: Python refuses to start
)
def test_endless_and_odd_descriptors(
    spool: Path, tmp_path: Path, stdin: str, envelope: str, code: int
) -> None:
    (tmp_path / "message").write_bytes(b"Subject: x\n\ntext\n")
    (tmp_path / "envelope").write_bytes(b"Fa@b\0Tc@d\0\0")
    first = os.open(stdin or tmp_path / "message", os.O_RDONLY)
    second = os.open(envelope or tmp_path / "envelope", os.O_RDONLY)
    try:
        assert qmail_queue(spool, first, second) == code
    finally:
        os.close(first)
        os.close(second)
    assert [*Queue(spool, create=False).items()] == []


@pytest.mark.parametrize("part", ["spool", "spool/tmp", "spool/pending"])
def test_a_users_spool_that_leads_elsewhere(world: World, spool: Path, tmp_path: Path, part: str) -> None:
    place = world.alice / part
    replaced(place).symlink_to(world.etc)
    os.lchown(place, ALICE, ALICE)
    (tmp_path / "message").write_bytes(b"Subject: x\n\ntext\n")
    (tmp_path / "envelope").write_bytes(b"Fa@b\0Tc@d\0\0")
    with (tmp_path / "message").open("rb") as first, (tmp_path / "envelope").open("rb") as second:
        assert qmail_queue(spool, first.fileno(), second.fileno()) in (53, 62)
    assert world.look() == world.before
