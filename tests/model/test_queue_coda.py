"""A spool on Coda, where a directory that a process holds open is not fetched anew."""

from __future__ import annotations

from maildir_safe import Maildir, Queue
from maildir_safe.testing.simfs import SimHost, SimServer

SPOOL = "/spool"


def open_on(host: SimHost) -> Queue:
    return Queue(SPOOL, shared=False, heartbeat=False, fs=host)


def put(queue: Queue, token: str) -> str:
    return queue.put(f"Subject: {token}\n\n".encode(), "s@example.org", ["r@example.org"])


def test_a_spool_holds_no_directory_between_two_operations() -> None:
    host = SimHost(SimServer("coda"))
    queue = open_on(host)
    assert host.open_descriptors == []
    put(queue, "one")
    put(queue, "two")
    assert host.open_descriptors == []
    first, second = queue.claim(2)
    assert host.open_descriptors == []
    first.ack()
    second.retry(60.0)
    queue.tend()
    assert host.open_descriptors == []
    assert queue.stats()["pending"] == 1
    queue.close()
    assert host.open_descriptors == []


def test_elsewhere_a_spool_keeps_them_open() -> None:
    """To open them for each call costs network calls on NFS and SMB."""
    host = SimHost(SimServer("nfs4"))
    queue = open_on(host)
    assert len(host.open_descriptors) > 5
    queue.close()


def test_two_clients_work_one_spool_by_turns_and_nobody_is_refused() -> None:
    server = SimServer("coda")
    Maildir("/mail", fs=SimHost(server, "maker"))
    hosts = [SimHost(server, name) for name in "ab"]
    queues = []
    for host in hosts:
        queues.append(open_on(host))
        server.advance(60.0)
    delivered = 0
    for number in range(10):
        for host, queue in zip(hosts, queues, strict=True):
            put(queue, f"{host.name}{number}")
            server.advance(30.0)
            for claim in queue.claim(10):
                claim.ack_into(Maildir("/mail", create=False, fs=host))
                delivered += 1
            server.advance(30.0)
            queue.tend()
    assert delivered == 20
    assert not server.conflicts
    server.settle()
    names = [path for path in server.files() if path.startswith("/mail/new/")]
    assert len(names) == 20


def test_a_bucket_that_another_has_removed_is_replaced() -> None:
    """No descriptor keeps it, so each call says ENOENT."""
    server = SimServer("coda")
    host = SimHost(server)
    queue = open_on(host)
    put(queue, "one")
    for claim in queue.claim(1):
        claim.ack()
    pending = host.open_dir(f"{SPOOL}/pending")
    [bucket] = host.listdir(pending)
    host.rmdir(bucket, pending)
    host.close(pending)
    put(queue, "two")
    [claim] = queue.claim(1)
    assert claim.read() == b"Subject: two\n\n"
    claim.ack()
    queue.close()
