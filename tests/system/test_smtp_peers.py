"""The mail servers of the benchmarks come up, take their load, and their queues are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mta import scratch

from benchmarks.deliver_rounds import message
from benchmarks.peers.unpacked import unpacked
from benchmarks.relay import ours, rate, theirs
from benchmarks.smtp import present
from benchmarks.smtp_client import send, wire_form
from benchmarks.smtp_servers import CHASQUID, OPENSMTPD, POSTFIX, Contender, contenders

pytestmark = pytest.mark.mounts

MESSAGES = [wire_form(message(number)) for number in range(6)]


@pytest.fixture
def box() -> Iterator[Path]:
    with scratch() as path:
        for name in ("tmp", "new", "cur"):
            (path / "box" / name).mkdir(parents=True)
        yield path / "box"


@pytest.mark.parametrize(
    ("name", "package"), [(POSTFIX, ""), (OPENSMTPD, "opensmtpd"), (CHASQUID, "chasquid")]
)
def test_a_peer_takes_what_is_sent(name: str, package: str, box: Path) -> None:
    try:
        if package:
            unpacked(package)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    (one,) = (one for one in contenders() if one.name == name)
    with one.start(box) as running:
        load = send(running.address, one.lmtp, MESSAGES, 3, pipelined=one.pipelined)
        assert (sorted(load.acknowledged), load.refused) == ([*range(6)], [])
        if one.queued:
            assert one.queued(box) == 6


@pytest.mark.parametrize("kind", [ours, theirs])
def test_a_queue_is_relayed_into_the_sink_that_counts(
    kind: Callable[[Path, int, int], float], box: Path
) -> None:
    assert rate(kind, box, 5) > 0


def test_a_peer_that_does_not_come_up_is_named(box: Path) -> None:
    def start(_: Path) -> None:
        raise FileNotFoundError("no such package")

    rates, absent = present([Contender("nobody", "yes", start)], box.parent / "other", MESSAGES)  # type: ignore[arg-type]
    assert (rates, absent) == ({}, {"nobody": "no such package"})
