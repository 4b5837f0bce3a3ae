"""Making a Maildir: all of it or nothing, whoever else makes it, and whatever the server answers."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from maildir_safe import Maildir, NotAMaildir
from maildir_safe.testing.simfs import Fault, SimHost, SimServer

MAIL = b"Subject: hello\n\nworld\n"


def entries(server: SimServer, path: str = "/") -> list[str]:
    host = SimHost(server)
    return sorted(host.listdir(host.open_dir(path)))


@pytest.mark.parametrize("error", [errno.ENOENT, errno.EEXIST, errno.EIO, errno.ETIMEDOUT, errno.ESTALE])
@pytest.mark.parametrize("profile", ["local", "nfs3", "nfs4", "smb"])
def test_a_lost_reply_to_its_rename_is_no_failure(error: int, profile: str) -> None:
    server = SimServer(profile)
    maildir = Maildir("/m", fs=SimHost(server, faults=[Fault("rename", error, "done", match="-> /m")]))
    maildir.deliver(MAIL)
    assert entries(server) == ["m"]


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_lost_reply_to_mkdir_does_not_leave_half_a_maildir(nth: int) -> None:
    """NFS answers a repeated mkdir with EEXIST after a lost reply; here in the root of a mount."""
    server = SimServer("nfs4")
    host = SimHost(server)
    host.mkdir("m", host.open_dir("/"))
    Maildir("/m", fs=SimHost(server, faults=[Fault("mkdir", errno.EEXIST, "done", nth=nth)])).deliver(MAIL)
    assert entries(server, "/m") == ["cur", "new", "tmp"]


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_no_room_leaves_nothing_behind(nth: int) -> None:
    server = SimServer("local")
    with pytest.raises(NotAMaildir, match="cannot be made"):
        Maildir("/m", fs=SimHost(server, faults=[Fault("mkdir", errno.EDQUOT, nth=nth)]))
    assert entries(server) == []


def test_two_make_it_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    server = SimServer("local")
    one, other = SimHost(server, "a"), SimHost(server, "b")
    rename: Callable[..., None] = one.rename

    def too_late(src: str, dst: str, **directories: int) -> None:
        monkeypatch.setattr(one, "rename", rename)
        Maildir("/m", fs=other).deliver(b"first\n")
        rename(src, dst, **directories)

    monkeypatch.setattr(one, "rename", too_late)
    Maildir("/m", fs=one).deliver(b"second\n")
    assert len(entries(server, "/m/new")) == 2
    assert entries(server) == ["m"]


def test_one_that_cannot_be_opened_is_not_said_to_be_missing() -> None:
    server = SimServer("local")
    Maildir("/m", fs=SimHost(server))
    with pytest.raises(NotAMaildir, match="/m: cannot be opened: Permission denied"):
        Maildir("/m", fs=SimHost(server, faults=[Fault("open_dir", errno.EACCES, match="/m")]))


def test_the_directory_above_need_not_be_readable_where_a_maildir_is() -> None:
    """Homes and spools are often mode 0711."""
    server = SimServer("local")
    top = SimHost(server)
    top.mkdir("spool", top.open_dir("/"))
    Maildir("/spool/m", fs=top)

    class Narrow(SimHost):
        def open_dir(self, path: str, dir_fd: int | None = None) -> int:
            if path == "/spool":
                raise PermissionError(errno.EACCES, "not readable", path)
            return super().open_dir(path, dir_fd)

    Maildir("/spool/m", fs=Narrow(server)).deliver(MAIL)


def test_a_directory_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(NotAMaildir, match=r"thesis\.tex"):
        Maildir(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_root_of_a_mount_is_filled(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    Maildir(tmp_path).deliver(b"x\n")
    assert {entry.name for entry in tmp_path.iterdir()} == {"lost+found", "tmp", "new", "cur"}
