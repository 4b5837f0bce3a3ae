"""550 5.1.1 bounces mail, so that one ENOENT must not say it: a fresh listing and a look-up do, and age.

A directory that changed a few seconds ago may not have shown everything yet: on NFS a mailbox that was
just made on another host is absent for a while.
"""

from __future__ import annotations

import errno

import pytest

from maildir_safe import Maildir
from maildir_safe._mailboxes import Mailboxes, NoSuchMailbox
from maildir_safe._smtp.backends.routing import MailboxMap
from maildir_safe.errors import NotAMaildir
from maildir_safe.testing.simfs import Fault, SimHost, SimServer

LONG_AGO = 86400.0


def served(profile: str = "nfs4") -> SimServer:
    """Two mailboxes that have been there for a day, on a mount that this server shares with others."""
    server = SimServer(profile)
    server.put_tree("/users")
    maker = SimHost(server, "maker")
    for user in ("alice", "bob"):
        Maildir(f"/users/{user}", fs=maker)
    server.advance(LONG_AGO)
    return server


def answer(server: SimServer, address: str, *faults: Fault, host: SimHost | None = None) -> str:
    """What RCPT is told: 250, 450 or 550."""
    fs = host or SimHost(server, f"mx{len(server.hosts)}", faults=faults)
    candidates = MailboxMap("/users/{local}").candidates
    mailboxes = Mailboxes(candidates, lambda path: Maildir(path, create=False, fs=fs), fs=fs)
    try:
        mailboxes.find(address)
    except NoSuchMailbox:
        return "550"
    except NotAMaildir:
        return "450"
    return "250"


KINDS = ["open_dir", "listdir", "stat", "fstat"]
FAULTS = [
    Fault(kind, error, nth=nth, times=times)  # type: ignore[arg-type]
    for kind in KINDS
    for error in (errno.ENOENT, errno.EIO, errno.ESTALE, errno.ENOTDIR, errno.EAGAIN)
    for nth in (1, 2, 3)
    for times in (1, 2)
    if times == 1 or error == errno.ESTALE
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_no_single_wrong_answer_refuses_a_mailbox_that_is_there(fault: Fault) -> None:
    assert answer(served(), "bob@example.org", fault)[0] in "24"


def test_a_listing_that_omits_it_does_not_refuse_it_either() -> None:
    omits = Fault("listdir", 0, hides="bob", quiet=True)
    assert answer(served(), "bob@example.org", omits, Fault("open_dir", errno.ENOENT))[0] in "24"


def test_who_is_unknown_is_refused_for_good() -> None:
    assert answer(served(), "mallory@example.org") == "550"


def test_who_is_unknown_while_the_storage_fails_is_not() -> None:
    for fault in FAULTS:
        assert answer(served(), "mallory@example.org", fault) in ("450", "451", "550")
    everything = Fault("any", errno.EIO, times=10**6)
    assert answer(served(), "mallory@example.org", everything)[0] == "4"


@pytest.mark.parametrize("seconds", [0.1, 0.6, 2.0])
@pytest.mark.parametrize("profile", ["nfs3", "nfs4"])
def test_a_mailbox_that_another_host_has_just_made_is_not_refused(profile: str, seconds: float) -> None:
    """Even if this host has the absence cached: the directory above has changed a moment ago."""
    server = served(profile)
    mx = SimHost(server, "mx")
    answer(server, "carol@example.org", host=mx)
    Maildir("/users/carol", fs=SimHost(server, "elsewhere"))
    server.advance(seconds)
    stale = Fault("open_dir", errno.ENOENT, times=10**6, match="/users/carol")
    hidden = Fault("listdir", 0, times=10**6, match="/users", hides="carol", quiet=True)
    mx.plan.faults = (stale, hidden)
    assert answer(server, "carol@example.org", host=mx)[0] == "4"
    mx.plan.faults = ()
    server.advance(60.0)
    assert answer(server, "carol@example.org", host=mx) == "250"
    assert answer(server, "mallory@example.org", host=mx) == "550"
