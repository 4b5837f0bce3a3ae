"""read() that says EAGAIN, takes half or fails: a message is read whole, or it is tried again."""

from __future__ import annotations

import errno

import pytest

from maildir_safe.errors import MaildirSafeError
from maildir_safe.testing.simfs import Fault, SimServer
from tests.model.queue_world import SPOOL, Actor, Ledger, new_server, reckon

LONG = b"Subject: long\n\n" + b"".join(b"%07d\n" % number for number in range(130_000))
FAULTS = [
    Fault("read", error, nth=nth, times=times)
    for error in (errno.EAGAIN, 0, errno.EIO, errno.EINTR, errno.ESTALE)
    for nth in range(1, 8)
    for times in (1, 4)
]


def put_long(server: SimServer) -> None:
    putter = Actor(server, Ledger(), "putter")
    putter.queue.put(LONG, "s@example.org", ["r@example.org"])
    putter.queue.close()


def in_state(server: SimServer, *states: str) -> list[str]:
    return [path for path in server.files() if path.startswith(tuple(f"{SPOOL}/{one}/" for one in states))]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_what_a_courier_reads_line_by_line_is_whole(fault: Fault) -> None:
    """As a relay reads: an error is an answer for this try, the end of the file is the end of the message."""
    server = new_server("nfs4")
    put_long(server)
    actor = Actor(server, Ledger(), "a", [fault])
    sent: list[bytes] = []
    for _ in range(20):
        for claim in actor.claim():
            try:
                with claim.open() as file:
                    sent.append(b"".join(file))
                claim.ack()
            except (MaildirSafeError, OSError):
                claim.release()
        if sent:
            break
        actor.host.sleep(60.0)
    assert sent == [LONG]
    assert actor.host.plan.hits
    assert not in_state(server, "corrupt", "failed")


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_what_is_read_in_one_call_is_whole(fault: Fault) -> None:
    server = new_server("nfs4")
    put_long(server)
    actor = Actor(server, Ledger(), "a", [fault])
    read = b""
    for _ in range(20):
        for claim in actor.claim():
            try:
                read = claim.read()
                claim.ack()
            except (MaildirSafeError, OSError):
                claim.release()
        if read:
            break
        actor.host.sleep(60.0)
    assert read == LONG
    assert not in_state(server, "corrupt", "failed")


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_what_is_copied_into_a_maildir_is_whole(fault: Fault) -> None:
    """Spool and Maildir on two file systems."""
    server, ledger = new_server("nfs4"), Ledger()
    elsewhere = Fault("rename", errno.EXDEV, times=10**6, match=",o -> /mail/new/")
    actor = Actor(server, ledger, "a", [elsewhere, fault])
    actor.queue.put(LONG, "s@example.org", ["r@example.org"])
    for _ in range(20):
        for claim in actor.claim():
            try:
                claim.ack_into(actor.maildir)
            except (MaildirSafeError, OSError):
                if not claim.ended:
                    claim.release()
        actor.host.sleep(60.0)
    found = [data for path, data in server.files().items() if path.startswith("/mail/")]
    assert [data.endswith(LONG) for data in found] == [True]
    assert not in_state(server, "corrupt", "failed", "pending", "claimed")


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_what_a_reader_of_the_maildir_reads_is_whole(fault: Fault) -> None:
    server, ledger = new_server("nfs4"), Ledger()
    actor = Actor(server, ledger, "a", [fault])
    key = actor.maildir.deliver(LONG).key
    for _ in range(20):
        try:
            with actor.maildir.open(key) as file:
                assert file.read() == LONG
            break
        except (MaildirSafeError, OSError):
            actor.host.sleep(1.0)
    else:
        pytest.fail("it is never read")


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("cut", [0, 80, len(LONG) // 2])
def test_an_item_that_is_short_on_disk_is_damage_and_is_not_delivered(cut: int, copied: bool) -> None:
    """The file itself is shorter than its name says: that is for a person to look at."""
    server = new_server("nfs4")
    put_long(server)
    [path] = in_state(server, "pending")
    [node] = [node for node in server.disk.nodes.values() if node.data.endswith(LONG)]
    node.data = node.disk_data = node.data[:cut]
    server.version += 1
    elsewhere = Fault("rename", errno.EXDEV, times=10**6, match=",o -> /mail/new/")
    actor = Actor(server, Ledger(), "a", [elsewhere] if copied else [])
    for _ in range(5):
        for claim in actor.claim():
            with pytest.raises((MaildirSafeError, OSError)):
                claim.ack_into(actor.maildir)
        actor.host.sleep(60.0)
    assert not [path for path in server.files() if path.startswith("/mail/")]
    assert [found.rpartition("/")[2] for found in in_state(server, "corrupt")] != []
    assert path not in server.files()


def test_the_ledger_drains_with_any_read_failing_now_and_then() -> None:
    server, ledger = new_server("nfs4"), Ledger()
    faults = [Fault("read", errno.EAGAIN, nth=nth) for nth in range(1, 30, 3)]
    actor = Actor(server, ledger, "a", faults)
    actor.put("one", "two", "three")
    for _ in range(10):
        for claim in actor.claim(3):
            actor.end(claim, "deliver")
        actor.host.sleep(60.0)
    reckon(server, ledger)
