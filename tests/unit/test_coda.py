"""What a mount of type coda is given without being asked, and what is said of a conflict."""

from __future__ import annotations

import errno

import pytest

from maildir_safe import Maildir, NotAMaildir
from maildir_safe.testing.simfs import Fault, SimHost, SimServer

MAIL = b"Subject: hello\n\nworld\n"


@pytest.mark.parametrize(("profile", "where"), [("coda", "/m/new/."), ("nfs4", "/m/tmp/")])
def test_messages_are_written_where_the_type_of_mount_needs_it(profile: str, where: str) -> None:
    """Its users could not choose staging="new": no option had it, and no probe could store it."""
    server = SimServer(profile)
    Maildir("/m", fs=SimHost(server)).deliver(MAIL)
    [created] = [call.names for call in server.history if call.kind == "create"]
    assert created.startswith(where)


def test_who_says_tmp_gets_tmp() -> None:
    server = SimServer("coda")
    Maildir("/m", fs=SimHost(server), staging="tmp").deliver(MAIL)
    [created] = [call.names for call in server.history if call.kind == "create"]
    assert created.startswith("/m/tmp/")


@pytest.mark.parametrize("error", [errno.ELOOP, errno.ENOTDIR])
@pytest.mark.parametrize("where", ["/m", "/m/tmp", "/m/new"])
def test_right_after_a_conflict_the_error_names_it(error: int, where: str) -> None:
    server = SimServer("coda")
    Maildir("/m", fs=SimHost(server))
    server.settle()
    fault = Fault("open_dir", error, times=99, match=where)
    with pytest.raises(NotAMaildir, match="conflict"):
        Maildir("/m", create=False, fs=SimHost(server, faults=[fault]))


@pytest.mark.parametrize("error", [errno.EIO, errno.ETOOMANYREFS, errno.ELOOP, errno.ENOTDIR])
@pytest.mark.parametrize("kind", ["open_dir", "create"])
def test_before_a_delivery_is_refused_directories_are_let_go_and_tried_anew(kind: str, error: int) -> None:
    server = SimServer("nfs4")
    Maildir("/m", fs=SimHost(server, "b"))
    nth = 5 if kind == "open_dir" else 1  # the first after the four that were kept
    host = SimHost(server, faults=[Fault(kind, error, nth=nth)])  # type: ignore[arg-type]
    maildir = Maildir("/m", create=False, fs=host)
    server.advance(60.0)
    maildir.deliver(MAIL)
    assert host.plan.hits
    assert len([path for path in server.files() if "/new/" in path]) == 1


def test_other_mounts_keep_their_directories_open() -> None:
    """Open and close cost network calls, which a delivery on NFS and SMB does without."""
    host = SimHost(SimServer("nfs4"))
    maildir = Maildir("/m", fs=host)
    maildir.deliver(MAIL)
    assert len(host.open_descriptors) == 4
