"""Two mail hosts on GlusterFS behind HAProxy, as examples/two-hosts has them: one fails, and no mail is lost.

The short form of `python -m benchmarks.failover`, which prints the same figures of longer failures.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

import pytest

from benchmarks.failover import FAILURES, Failure, row, run
from benchmarks.failover_cluster import KIND, Cluster, cluster
from benchmarks.mounts import MountError, kernel_knows, missing

LEASE = 3
SCALE = 0.5
HARMLESS = ("nothing", "file-server", "file-server-network")
"""What the clients of the load balancer need not notice."""

pytestmark = [pytest.mark.mounts, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def up() -> Iterator[Cluster]:
    if not kernel_knows(KIND.fstype):
        pytest.skip(f"no {KIND.fstype}")
    give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
    lacks = missing(KIND) or ("" if shutil.which("haproxy") else "needs the package haproxy")
    if lacks:
        give_up(lacks)
    try:
        with cluster(LEASE) as made:
            yield made
    except MountError as error:
        give_up(str(error))


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
def test_no_mail_is_lost(
    up: Cluster, failure: Failure, record_property: Callable[[str, object], None]
) -> None:
    found = run(failure, up, SCALE)
    record_property("note", row(failure, found))
    assert found.complaints() == []
    assert found.messages > 50
    if failure.name not in HARMLESS:
        assert found.trouble, "nothing happened to the client: this shows nothing"
    if failure.name == "stopped":
        assert "LeaseLost" in up.log("c1", "work").read_text()
