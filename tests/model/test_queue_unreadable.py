"""What cannot be read just now is not lost and not damaged: fsck and workers leave it where it is."""

from __future__ import annotations

import errno

import pytest

from maildir_safe._check.fsck import SpoolCheck
from maildir_safe.errors import MaildirSafeError
from maildir_safe.testing.simfs import Fault, SimHost, SimServer
from tests.model.queue_world import SPOOL, Actor, Ledger, new_server, reckon

FAILS = [
    Fault(kind, error, nth=nth, times=times, match=f"{SPOOL}/{where}")  # type: ignore[arg-type]
    for kind, errors in {
        "open": (errno.EIO, errno.ESTALE, errno.EACCES, errno.ENOENT),
        "read": (errno.EIO, errno.EAGAIN, errno.ESTALE, 0),
        "open_dir": (errno.EIO, errno.ENOENT),
        "listdir": (errno.EIO, errno.ESTALE),
        "fstat": (errno.EIO,),
        "stat": (errno.EIO,),
    }.items()
    for error in errors
    for nth in (1, 2, 3, 5)
    for times in (2, 10**6)
    for where in ("pending", "hold")
]


def filled() -> tuple[SimServer, Ledger]:
    server, ledger = new_server("nfs4"), Ledger()
    actor = Actor(server, ledger, "putter")
    actor.put("one", "two", "three", "four", "five", "six")
    for listed in list(actor.queue.items())[:2]:
        actor.queue.hold(listed.item.id)
    actor.queue.close()
    server.disk.sync_all()
    return server, ledger


def corrupt(server: SimServer) -> list[str]:
    return [path for path in server.files() if path.startswith(f"{SPOOL}/corrupt/")]


@pytest.mark.parametrize("fault", FAILS, ids=lambda fault: f"{fault}-{fault.match[7:]}")
def test_fsck_moves_nothing_that_it_could_not_read(fault: Fault) -> None:
    server, ledger = filled()
    before = sorted(server.files())
    findings = []
    try:
        findings = list(SpoolCheck(SPOOL, fix=True, fs=SimHost(server, "fsck", faults=[fault])).run())
    except (MaildirSafeError, OSError):
        pass
    assert not corrupt(server), [finding.what for finding in findings]
    assert sorted(server.files()) == before
    again = Actor(server, ledger, "operator").queue
    for listed in list(again.items("hold")):
        again.unhold(listed.item.id)
    again.close()
    reckon(server, ledger)


def test_fsck_still_moves_what_was_read_whole_and_is_wrong() -> None:
    server, _ = filled()
    [path, *_] = [path for path in server.files() if path.startswith(f"{SPOOL}/pending/")]
    data = server.files()[path]
    for node in server.disk.nodes.values():
        if node.data == data:
            node.data = node.disk_data = data[:20]
    list(SpoolCheck(SPOOL, fix=True, fs=SimHost(server, "fsck")).run())
    assert len(corrupt(server)) == 1
    assert path not in server.files()


@pytest.mark.parametrize("verb", ["retry", "unhold"])
def test_a_good_item_in_corrupt_can_be_put_back(verb: str) -> None:
    """It is checked anew; who was owed it is owed it again."""
    server, ledger = filled()
    actor = Actor(server, ledger, "operator")
    for listed in list(actor.queue.items("hold")):
        actor.queue.unhold(listed.item.id)
    [claim] = actor.claim()
    claim._end(actor.queue._opened.spool.shelve, claim._lease, claim.item, claim.item.returned(), "corrupt")
    assert len(corrupt(server)) == 1
    getattr(actor.queue, verb)(claim.id)
    assert not corrupt(server)
    actor.queue.close()
    reckon(server, ledger)


@pytest.mark.parametrize("error", [errno.EIO, errno.EAGAIN, errno.ESTALE, 0])
@pytest.mark.parametrize("nth", range(1, 6))
def test_a_worker_moves_nothing_to_corrupt_that_it_could_not_read(nth: int, error: int) -> None:
    server, ledger = new_server("nfs4"), Ledger()
    actor = Actor(server, ledger, "a", [Fault("read", error, nth=nth, times=3)])
    actor.put("one", "two", "three")
    for _ in range(10):
        for claim in actor.claim(3):
            try:
                claim.read()
                claim.ack_into(actor.maildir)
            except (MaildirSafeError, OSError):
                if not claim.ended:
                    claim.release()
        assert not corrupt(server)
        actor.host.sleep(30.0)
    reckon(server, ledger)
