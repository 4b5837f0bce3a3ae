"""One spool, two hosts: two clients of one export, each with a putter and two workers of its own.

A host is a pid namespace here, so that the death of another's worker cannot be proved and the lease
has to do it. One worker is killed, one is stopped between claim and delivery past its lease. With
servers that can be stopped, one is.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mounts import CHOSEN, on_mounts
from queue_crew import Crew, until

from benchmarks.mounts import Mount

MESSAGES = int(os.environ.get("QUEUE_MESSAGES", "60"))
"""Put by each of the two hosts."""

RESOLVE_TIMEOUT = 300 + MESSAGES
"""Seconds that any step may take."""

pytestmark = pytest.mark.timeout(10 * RESOLVE_TIMEOUT)

# at least three times as long as one client hides what another did
LEASES = {"sshfs": 60, "sshfs-nolink": 60, "nfs3": 90, "nfs41": 90, "nfs42": 90, "cifs": 15}
# `make lab` runs them on all where two clients may share a spool
CI_KINDS = ("sshfs", "sshfs-nolink", "gluster", "gluster-arbiter")
SHARED = (*CI_KINDS, "gluster-replica2", "moosefs", "cephfs", "davfs2", "nfs3", "nfs42", "cifs", "9p")


Note = Callable[[str, object], None]


def two_hosts(
    mount: Mount,
    tmp_path: Path,
    note: Note,
    messages: int = MESSAGES,
    outage: contextlib.AbstractContextManager[str] | None = None,
) -> None:
    """All of it, with a server that is away while in `outage`, which says how."""
    directory = mount.folder()
    roots = [client / directory.relative_to(mount.paths[0]) for client in mount.paths[:2]]
    until(lambda: all(root.is_dir() for root in roots))
    lease = LEASES.get(mount.kind.name, 10)
    crew = Crew(roots, tmp_path, lease)
    try:
        until(lambda: (roots[1] / "spool" / "corrupt").is_dir() and (roots[1] / "maildir" / "cur").is_dir())
        marker = tmp_path / "claimed"
        putters = [crew.putter(1_000_000 * host, messages, host) for host in (0, 1)]
        stopped = crew.worker(marker, host=0)
        until(lambda: marker.exists() and bool(marker.read_text()), RESOLVE_TIMEOUT)
        crew.signal(stopped, signal.SIGSTOP)
        held = marker.read_text()
        killed, *_ = [crew.worker(host=host) for host in (0, 1, 1)]
        with outage or contextlib.nullcontext("no server away") as server:
            until(lambda: len(crew.delivered()) >= messages // 3, RESOLVE_TIMEOUT)
            killed.kill()
            killed.wait()
            until(lambda: all(putter.poll() is not None for putter in putters), RESOLVE_TIMEOUT)
            until(lambda: held in crew.delivered(), 6 * lease + 60)  # taken over: its lease is over
            marker.unlink()
            crew.signal(stopped, signal.SIGCONT)
            until(lambda: f"LeaseLost: {held}" in crew.log_of(stopped), RESOLVE_TIMEOUT)
            assert len(crew.accepted()) == 2 * messages
            reckoning = crew.reckon(6 * lease + RESOLVE_TIMEOUT)
        note("note", f"{mount.kind.name}: two hosts: {reckoning}; LeaseLost: {held}; {server}")
    finally:
        crew.end()


@on_mounts(*([kind for kind in CHOSEN if kind in SHARED] if CHOSEN else CI_KINDS))
def test_two_hosts_share_a_spool(mount: Mount, tmp_path: Path, record_property: Note) -> None:
    two_hosts(mount, tmp_path, record_property)


@contextlib.contextmanager
def killed(mount: Mount, server: str) -> Iterator[str]:
    """A server is killed, and does not come back before the end."""
    mount.stop(server)
    try:
        yield f"server {server} killed"
    finally:
        mount.start(server)


@on_mounts("gluster-arbiter")
def test_a_server_is_killed_meanwhile(mount: Mount, tmp_path: Path, record_property: Note) -> None:
    two_hosts(mount, tmp_path, record_property, outage=killed(mount, "s2"))
