"""The control: unmodified `mailbox.Maildir` on the simulated file system fails as on real ones.

docs/development/measurements.md has the real ones: "Crashes of a disk", "Other programs on errors".
"""

from __future__ import annotations

import errno
import mailbox
import os

import pytest

from maildir_safe.testing.simfs import Fault, SimHost, SimServer, redirected

MAIL = b"Subject: hello\n\nworld\n"


def maildir(profile: str, *faults: Fault) -> tuple[SimServer, SimHost, mailbox.Maildir]:
    server = SimServer(profile)
    server.put_tree("/mail", "/mail/tmp", "/mail/new", "/mail/cur")
    host = SimHost(server, faults=faults)
    with redirected(mailbox, host):
        return server, host, mailbox.Maildir("/mail")


def visible(server: SimServer) -> list[bytes]:
    return [data for path, data in server.files().items() if path.startswith(("/mail/new/", "/mail/cur/"))]


@pytest.mark.parametrize("profile", ["local", "nfs3", "nfs4", "smb", "gluster"])
def test_it_delivers_where_nothing_goes_wrong(profile: str) -> None:
    server, host, box = maildir(profile)
    with redirected(mailbox, host):
        key = box.add(MAIL)
        assert box.get_bytes(key) == MAIL
    assert visible(server) == [MAIL]
    assert sum(call.kind in ("link", "unlink") for call in server.history) == 2


def test_acknowledged_mail_is_lost_in_a_crash_for_want_of_a_directory_fsync() -> None:
    server, host, box = maildir("local")
    with redirected(mailbox, host):
        box.add(MAIL)
    found = [visible(server.crashed(choice)) for choice in server.disk.choices()]
    assert [] in found
    assert [MAIL] in found
    directory = host.open_dir("/mail/new")
    host.fsync(directory)
    assert all(visible(server.crashed(choice)) == [MAIL] for choice in server.disk.choices())


def test_a_lost_reply_of_link_and_a_second_try_give_two_copies() -> None:
    server, host, box = maildir("nfs3", Fault("link", errno.EEXIST, "done"))
    with redirected(mailbox, host):
        with pytest.raises(mailbox.ExternalClashError):
            box.add(MAIL)
        box.add(MAIL)
    assert visible(server) == [MAIL, MAIL]


REFUSED = [("coda", errno.EXDEV), ("afs", errno.EREMOTEIO), ("rclone", errno.EIO)]


@pytest.mark.parametrize(("profile", "code"), REFUSED)
def test_it_fails_on_the_first_message_where_links_are_refused(profile: str, code: int) -> None:
    server, host, box = maildir(profile)
    with redirected(mailbox, host), pytest.raises(OSError, match=os.strerror(code)):
        box.add(MAIL)
    server.settle()
    assert visible(server) == []


def test_it_falls_back_to_rename_on_vfat() -> None:
    server, host, box = maildir("vfat")
    with redirected(mailbox, host):
        box.add(MAIL)
    assert visible(server) == [MAIL]


@pytest.mark.parametrize("kind", ["write", "fsync", "close"])
def test_it_leaves_rubbish_in_tmp_when_storage_fails(kind: str) -> None:
    server, host, box = maildir("local", Fault(kind, errno.EIO, nth=2 if kind == "close" else 1))  # type: ignore[arg-type]
    with redirected(mailbox, host), pytest.raises(OSError, match="Input"):
        box.add(MAIL)
    assert visible(server) == []
    assert len(server.files()) == 1
