"""After an ambiguous rename: the name is sealed, what was published is safe, second names go."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._handoff.late_calls import remove_second_name, seal
from maildir_safe._handoff.rename import DONE, UNKNOWN, Handoff, Outcome
from maildir_safe.testing.simfs import Fault, SimHost, SimServer

FAR = 1e9
NONE = Outcome(DONE, 1, None)


def scene(*faults: Fault, profile: str = "nfs4") -> tuple[SimHost, int, int]:
    """A host with directories a and b, and a file of four bytes a/src; the faults begin after that."""
    fs = SimHost(SimServer(profile), faults=faults)
    for path in ("/a", "/b"):
        fs.mkdir(path)
    a, b = fs.open_dir("/a"), fs.open_dir("/b")
    put(fs, a, "src")
    return fs, a, b


def put(fs: SimHost, directory: int, name: str, data: bytes = b"mail") -> None:
    fd = fs.create(name, directory)
    if data:
        fs.write(fd, data)
    fs.fsync(fd)
    fs.close(fd)


def contents(fs: SimHost, directory: int, name: str) -> bytes:
    return fs.read(fs.open(name, directory), 99)


def publish(fs: SimHost, a: int, b: int, **how: object) -> Outcome:
    return Handoff(fs).publish(a, ["src"], b, ["dst"], FAR, size_of=lambda _: 4, **how).get("src", NONE)  # type: ignore[arg-type]


def test_a_name_is_sealed_after_an_ambiguous_rename_and_only_then() -> None:
    fs, a, b = scene()
    assert publish(fs, a, b).error is None
    assert fs.listdir(a) == []
    fs, a, b = scene(Fault("rename", errno.EIO, "done"), profile="local")
    assert publish(fs, a, b).kind == DONE
    assert fs.listdir(a) == ["src"]
    with pytest.raises(FileExistsError):
        fs.create("src", a)
    with pytest.raises(NotADirectoryError):
        fs.rename("src", "dst", src_dir_fd=a, dst_dir_fd=b)
    fs.unlink("dst", dir_fd=b)
    with pytest.raises(PermissionError):  # nor does a directory turn up in new/
        fs.rename("src", "dst", src_dir_fd=a, dst_dir_fd=b)


def test_a_rename_that_is_refused_for_good_leaves_no_seal() -> None:
    fs, a, b = scene(Fault("rename", errno.EXDEV))
    publish(fs, a, b)
    assert fs.listdir(a) == []


def test_where_the_name_cannot_be_sealed_nothing_is_certain() -> None:
    fs, a, b = scene(Fault("rename", errno.EIO, "done"), Fault("mkdir", errno.EIO, nth=3, times=9))
    assert publish(fs, a, b).kind == UNKNOWN


@pytest.mark.parametrize("answer", [False, True, errno.EIO])
def test_what_is_gone_is_published_only_if_it_is_found_where_readers_move_it(answer: int) -> None:
    fs, a, b = scene()
    fs.unlink("src", dir_fd=a)  # by a janitor with a wrong clock

    def moved_on(name: str) -> bool:
        assert name == "dst"
        if answer == errno.EIO:
            raise OSError(answer, "cannot be listed")
        return bool(answer)

    assert publish(fs, a, b, moved_on=moved_on).kind == (DONE if answer is True else UNKNOWN)


def test_a_file_that_was_created_late_is_never_published() -> None:
    """The rename was executed and a reader moved the message on; then an empty file has the old name."""
    fs, a, b = scene(Fault("rename", errno.EIO, "done"), Fault("listdir", errno.EIO, nth=2))
    real = fs.rename

    def rename(src: str, dst: str, **directories: int) -> None:
        try:
            real(src, dst, **directories)
        finally:
            if src == "src" and "dst" in fs.listdir(b):
                fs.unlink("dst", dir_fd=b)
                put(fs, a, "src", b"")

    fs.rename = rename  # type: ignore[method-assign]
    publish(fs, a, b)
    assert "dst" not in fs.listdir(b)


@pytest.mark.parametrize("told", [0, errno.EEXIST])
def test_a_seal_takes_the_place_of_a_file(told: int) -> None:
    fs, a, _ = scene(Fault("mkdir", told, nth=3) if told else Fault("mkdir", nth=99))
    assert seal(fs, a, "src")
    with pytest.raises(IsADirectoryError):
        fs.unlink("src", dir_fd=a)


def test_a_seal_is_not_put_in_the_place_of_a_message_on_a_real_file_system(tmp_path: Path) -> None:
    fs = OsFileSystem()
    for name in ("tmp", "new"):
        (tmp_path / name).mkdir()
    (tmp_path / "new" / "1.a").write_bytes(b"mail")
    tmp, new = (fs.open_dir(str(tmp_path / name)) for name in ("tmp", "new"))
    assert seal(fs, tmp, "1.a")
    with pytest.raises(FileExistsError):
        fs.create("1.a", tmp)
    with pytest.raises(OSError, match="directory"):
        fs.rename("1.a", "1.a", src_dir_fd=tmp, dst_dir_fd=new)
    assert (tmp_path / "new" / "1.a").read_bytes() == b"mail"
    for fd in (tmp, new):
        fs.close(fd)


# rename() of one name of a file onto another does nothing


def test_a_claim_of_a_second_name_is_done_and_the_name_goes(tmp_path: Path) -> None:
    fs = OsFileSystem()
    for name in ("claimed", "new"):
        (tmp_path / name).mkdir()
    (tmp_path / "claimed" / "item").write_bytes(b"mail")
    os.link(tmp_path / "claimed" / "item", tmp_path / "new" / "item")
    claimed, new = (fs.open_dir(str(tmp_path / name)) for name in ("claimed", "new"))
    assert Handoff(fs).claim(claimed, "item", new, "item").kind == DONE
    assert fs.listdir(claimed) == ["item"]  # which is what rename() does, and what the caller asks about
    assert Handoff(fs).claim(claimed, "item", new, "item", may_be_there=True).kind == DONE
    assert (fs.listdir(claimed), fs.listdir(new)) == ([], ["item"])
    for fd in (claimed, new):
        fs.close(fd)


def test_a_claim_makes_one_look_up_more_where_asked_and_no_call_elsewhere() -> None:
    counted = []
    for may_be_there in (False, True):
        fs, a, b = scene()
        before = len(fs.server.history)
        Handoff(fs).claim(a, "src", b, "dst", may_be_there)
        counted.append([call.kind for call in fs.server.history[before:]])
    assert counted == [["rename"], ["rename", "stat"]]


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOENT, errno.ETIMEDOUT])
def test_a_claim_that_left_both_names_removes_the_first(error: int) -> None:
    fs, a, b = scene(Fault("rename", error, "both"), profile="gluster")
    assert Handoff(fs).claim(a, "src", b, "dst").kind == DONE
    assert (fs.listdir(a), fs.listdir(b)) == ([], ["dst"])


def test_a_source_that_holds_something_else_is_not_a_second_name() -> None:
    fs, a, b = scene()
    put(fs, b, "dst", b"other")
    remove_second_name(fs, a, "src", b, "dst")
    assert contents(fs, a, "src") == b"mail"
