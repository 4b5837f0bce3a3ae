"""`work --warn-after`: the sender is told once that a message is delayed."""

from __future__ import annotations

import email
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_queue_suspensions import Clock
from test_queue_worker import Script

from maildir_safe import Queue
from maildir_safe._delivery.dsn import Dsn
from maildir_safe._queue.schedule import Schedule
from maildir_safe._queue.worker import Worker

HOUR = 3600.0
MESSAGE = b"Subject: hello\n\nbody\n"
A, B, SENDER = "a@example.org", "b@example.org", "s@example.org"


class Late:
    """A queue whose clock is set by hand, and a worker that is started at each attempt."""

    def __init__(self, path: Path, warn_after: float = 4 * HOUR) -> None:
        self.clock = Clock()
        self.queue = Queue(path, fs=self.clock)
        self.told = Script()
        self.warn_after = warn_after

    def attempt_at(self, hours: float, **codes: list[int]) -> None:
        self.clock.now = Clock.now + hours * HOUR
        Worker(
            self.queue, Script(**codes), bounces=self.told, schedule=Schedule(), host="mx.example.org",
            warn_after=self.warn_after,
        ).run_once()  # fmt: skip

    def warnings(self) -> list[email.message.Message]:
        return [email.message_from_bytes(message) for _, _, message in self.told.got]


@pytest.fixture
def late(tmp_path: Path) -> Iterator[Late]:
    found = Late(tmp_path / "spool")
    yield found
    found.queue.close()


def test_the_sender_is_told_once(late: Late) -> None:
    ident = late.queue.put(MESSAGE, SENDER, [A, B])
    for hours in (0, 2, 3.9):
        late.attempt_at(hours, a=[451])
    assert late.warnings() == []
    for hours in (4.5, 9, 20):
        late.attempt_at(hours, a=[451])
    (warning,) = late.warnings()
    assert warning["Subject"] == "Delayed Mail (still being retried)"
    assert ident in warning["Message-ID"]
    _, group = warning.get_payload(1).get_payload()  # type: ignore[union-attr]
    assert (group["Final-Recipient"], group["Action"], group["Status"]) == (
        f"rfc822; {A}",
        "delayed",
        "4.1.1",
    )
    text = warning.get_payload(0).get_payload()  # type: ignore[union-attr]
    assert "You need not send it again." in text
    assert B not in text


def test_the_first_attempt_may_come_late(late: Late) -> None:
    late.queue.put(MESSAGE, SENDER, [A])
    late.attempt_at(10, a=[451])
    late.attempt_at(20, a=[451])
    assert len(late.warnings()) == 1


@pytest.mark.parametrize(
    ("sender", "dsn"), [("", None), (SENDER, Dsn(notify={A: "NEVER"})), (SENDER, Dsn(notify={A: "FAILURE"}))]
)
def test_who_does_not_want_it_is_not_told(late: Late, sender: str, dsn: Dsn | None) -> None:
    late.queue.put(MESSAGE, sender, [A], dsn=dsn)
    late.attempt_at(10, a=[451])
    assert late.warnings() == []


def test_it_is_off_by_default(tmp_path: Path) -> None:
    late = Late(tmp_path / "spool", warn_after=0)
    late.queue.put(MESSAGE, SENDER, [A])
    late.attempt_at(100, a=[451])
    assert late.warnings() == []
    late.queue.close()


def test_a_warning_that_cannot_be_sent_changes_nothing(late: Late) -> None:
    late.told = Script(s=[550])
    late.queue.put(MESSAGE, SENDER, [A])
    late.attempt_at(10, a=[451])
    late.attempt_at(20)
    assert list(late.queue.items()) == []
