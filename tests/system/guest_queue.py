"""Two clients of one NFS server share a spool, while it is killed and started again; run by test_guest.py."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest_replies import Server
from mounts import on_mounts
from test_queue_mounts import Note, two_hosts

from benchmarks.mounts import Mount

EACH = 100
"""Messages that each of the two hosts puts."""

AWAY = 5.0  # seconds


@contextlib.contextmanager
def away(server: Server) -> Iterator[str]:
    """The server is killed and comes back, with no memory of anybody: its clients reclaim what is theirs."""
    server.stop()
    time.sleep(AWAY)
    server.start()
    yield f"server away for {AWAY:.0f} s"


@pytest.mark.timeout(1200)
@on_mounts("nfs41")
def test_two_hosts_share_a_spool_while_its_server_restarts(
    mount: Mount, tmp_path: Path, record_property: Note
) -> None:
    two_hosts(mount, tmp_path, record_property, EACH, away(Server(mount)))
