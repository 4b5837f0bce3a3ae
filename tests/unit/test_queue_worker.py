"""A worker with scripted couriers: answers become jobs, failures become bounces, once each."""

from __future__ import annotations

import email
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from maildir_safe import Maildir, Queue
from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._queue.couriers.courier import DeliveryRequest
from maildir_safe._queue.couriers.maildir import MaildirCourier
from maildir_safe._queue.schedule import Schedule
from maildir_safe._queue.worker import Worker
from maildir_safe.errors import PermanentError

MESSAGE = b"Subject: hello\nMessage-ID: <1@example.org>\n\nbody\n"
AT_ONCE = Schedule(first=0.0, longest=0.0)


class Script:
    """A courier that answers from a list, one code a call and recipient, and remembers what it got."""

    def __init__(self, **codes: list[int]) -> None:
        self.codes = codes
        self.got: list[tuple[str, tuple[str, ...], bytes]] = []

    def __call__(self, request: DeliveryRequest) -> Mapping[str, RecipientStatus]:
        self.got.append((request.sender, request.recipients, request.open().read()))
        statuses = {}
        for recipient in request.recipients:
            codes = self.codes.get(recipient.partition("@")[0], [])
            code = codes.pop(0) if codes else 250
            statuses[recipient] = RecipientStatus(code, f"{code // 100}.1.1 said {code}")
        return statuses


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "spool") as queue:
        yield queue


def work(
    queue: Queue, courier: Callable[..., object], schedule: Schedule = AT_ONCE, **more: object
) -> Worker:
    worker = Worker(queue, courier, schedule=schedule, host="mx.example.org", **more)  # type: ignore[arg-type]
    worker.run_once()
    return worker


def states(queue: Queue) -> dict[str, str]:
    return {listed.state: listed.item.states for listed in queue.items()}


def test_what_all_have_is_gone(queue: Queue) -> None:
    courier = Script()
    queue.put(MESSAGE, "s@example.org", ["a@example.org", "b@example.org"])
    work(queue, courier)
    assert courier.got == [("s@example.org", ("a@example.org", "b@example.org"), MESSAGE)]
    assert states(queue) == {}


def test_only_who_is_still_owed_it_is_tried_again(queue: Queue) -> None:
    courier = Script(b=[451, 421])
    queue.put(MESSAGE, "s@example.org", ["a@example.org", "b@example.org"])
    work(queue, courier)
    assert [recipients for _, recipients, _ in courier.got] == [
        ("a@example.org", "b@example.org"), ("b@example.org",), ("b@example.org",),
    ]  # fmt: skip
    assert states(queue) == {}


def test_a_retry_waits_and_the_reason_is_kept(queue: Queue) -> None:
    ident = queue.put(MESSAGE, "s@example.org", ["a@example.org"])
    work(queue, Script(a=[451]), Schedule())
    assert states(queue) == {"pending": "o"}
    [note] = queue.why(ident)
    assert note["recipients"] == {"a@example.org": (451, "4.1.1 said 451", "")}
    [listed] = queue.items()
    assert listed.item.tries == 1
    assert 53 <= listed.item.not_before - note["at"] <= 67
    assert queue.claim() == []


def test_a_failure_is_told_to_the_sender_once_and_the_item_kept(queue: Queue) -> None:
    courier = Script(a=[550])
    ident = queue.put(MESSAGE, "s@example.org", ["a@example.org", "b@example.org"])
    work(queue, courier)
    assert states(queue) == {"failed": "bd"}
    (_, _, _), (sender, recipients, report) = courier.got
    assert (sender, recipients) == ("", ("s@example.org",))
    bounce = email.message_from_bytes(report)
    assert bounce.get_content_type() == "multipart/report"
    assert bounce.get_param("report-type") == "delivery-status"
    assert ident in bounce["Message-ID"]
    text, status, headers = bounce.get_payload()
    assert "a@example.org" in text.get_payload(decode=True).decode()
    assert "b@example.org" not in text.get_payload(decode=True).decode()
    about, group = status.get_payload()
    assert about["Reporting-MTA"] == "dns; mx.example.org"
    assert group["Final-Recipient"] == "rfc822; a@example.org"
    assert (group["Action"], group["Status"]) == ("failed", "5.1.1")
    assert group["Diagnostic-Code"] == "smtp; 550 5.1.1 said 550"
    assert b"Subject: hello" in headers.get_payload(decode=True)
    assert b"body" not in headers.get_payload(decode=True)


def test_the_null_sender_is_told_nothing(queue: Queue) -> None:
    courier = Script(a=[550])
    queue.put(MESSAGE, "", ["a@example.org"])
    work(queue, courier)
    assert len(courier.got) == 1
    assert states(queue) == {"failed": "b"}


def test_a_bounce_that_is_refused_for_now_is_tried_again(queue: Queue) -> None:
    courier = Script(a=[550], s=[451, 451])
    queue.put(MESSAGE, "s@example.org", ["a@example.org"])
    work(queue, courier)
    assert [sender for sender, _, _ in courier.got] == ["s@example.org", "", "", ""]
    assert len({email.message_from_bytes(m)["Message-ID"] for _, _, m in courier.got[1:]}) == 1
    assert states(queue) == {"failed": "b"}


def test_there_is_no_bounce_of_a_bounce(queue: Queue) -> None:
    courier = Script(a=[550], s=[550])
    queue.put(MESSAGE, "s@example.org", ["a@example.org"])
    work(queue, courier)
    assert len(courier.got) == 2
    assert states(queue) == {"failed": "b"}


def test_who_is_told_does_not_wait_for_who_is_tried_again(queue: Queue) -> None:
    courier = Script(a=[550], b=[451])
    queue.put(MESSAGE, "s@example.org", ["a@example.org", "b@example.org"])
    work(queue, courier, Schedule())
    assert len(courier.got) == 2
    assert states(queue) == {"pending": "bo"}
    [listed] = queue.items()
    assert listed.item.tries == 1
    assert listed.item.not_before > 0


def test_what_failed_for_too_long_is_given_up(queue: Queue) -> None:
    courier = Script(a=[451])
    queue.put(MESSAGE, "s@example.org", ["a@example.org"])
    work(queue, courier, Schedule(give_up=0.0))
    assert states(queue) == {"failed": "b"}
    [_, status, _] = email.message_from_bytes(courier.got[1][2]).get_payload()
    assert status.get_payload()[1]["Status"] == "5.4.7"


def test_whatever_a_courier_raises_loses_nothing(queue: Queue) -> None:
    def broken(_: DeliveryRequest) -> None:
        raise KeyError("oops")

    def refuses(_: DeliveryRequest) -> None:
        raise PermanentError("never")

    ident = queue.put(MESSAGE, "", ["a@example.org"])
    work(queue, broken, Schedule())
    assert states(queue) == {"pending": "o"}
    assert "KeyError" in str(queue.why(ident))
    queue.retry(ident)
    work(queue, refuses, Schedule())
    assert states(queue) == {"failed": "b"}


def test_an_answer_that_is_missing_is_no_success(queue: Queue) -> None:
    queue.put(MESSAGE, "", ["a@example.org", "b@example.org"])
    work(queue, lambda _: {"a@example.org": RecipientStatus(250, "ok")}, Schedule())
    assert states(queue) == {"pending": "do"}


def test_none_means_that_all_have_it(queue: Queue) -> None:
    queue.put(MESSAGE, "", ["a@example.org", "b@example.org"])
    work(queue, lambda _: None)
    assert states(queue) == {}


def test_a_courier_that_never_answers_loses_its_item(queue: Queue) -> None:
    release = threading.Event()
    seen: list[BaseException | None] = []

    def stuck(request: DeliveryRequest) -> None:
        release.wait(120)
        try:
            request.confirm()
            seen.append(None)
        except Exception as error:
            seen.append(error)
            raise

    ident = queue.put(MESSAGE, "", ["a@example.org"])
    worker = Worker(queue, stuck, schedule=Schedule(), timeout=0.2)
    runner = threading.Thread(target=worker.run, args=(5.0,))
    runner.start()
    for _ in range(3000):
        if states(queue) == {"pending": "o"} and queue.why(ident):
            break
        threading.Event().wait(0.02)
    worker.stop()
    runner.join()
    assert "did not answer" in str(queue.why(ident))
    release.set()
    for _ in range(3000):
        if seen:
            break
        threading.Event().wait(0.02)
    assert "has ended" in str(seen[0])
    assert states(queue) == {"pending": "o"}


def test_stopping_releases_what_couriers_still_hold(queue: Queue) -> None:
    started, release = threading.Event(), threading.Event()

    def slow(_: DeliveryRequest) -> None:
        started.set()
        release.wait(120)

    queue.put(MESSAGE, "", ["a@example.org"])
    worker = Worker(queue, slow)
    runner = threading.Thread(target=worker.run, args=(0.1,))
    runner.start()
    assert started.wait(60)
    worker.stop()
    runner.join()
    [listed] = queue.items()
    assert (listed.state, listed.item.tries) == ("pending", 0)
    release.set()


def test_a_busy_destination_holds_up_no_other(queue: Queue) -> None:
    release, got = threading.Event(), []

    def courier(request: DeliveryRequest) -> None:
        got.append(request.recipients[0])
        if request.recipients[0].endswith("slow.org"):
            release.wait(120)

    for n in range(4):
        queue.put(MESSAGE, "", [f"u{n}@slow.org"])
    queue.put(MESSAGE, "", ["u@fast.org"])
    worker = Worker(queue, courier, concurrency=3, per_destination=1)
    runner = threading.Thread(target=worker.run, args=(10.0,))
    runner.start()
    for _ in range(3000):
        if "u@fast.org" in got:
            break
        threading.Event().wait(0.02)
    assert "u@fast.org" in got
    assert sum(who.endswith("slow.org") for who in got) == 1
    worker.stop()
    release.set()
    runner.join()
    delivered = sum(who.endswith("slow.org") for who in got)  # one, or more if ten seconds went by
    assert queue.stats()["pending"] == 4 - delivered


def test_into_maildirs_one_rename_or_a_copy_for_each(queue: Queue, tmp_path: Path) -> None:
    for user in ("a", "b"):
        Maildir(tmp_path / user)
    courier = MaildirCourier(lambda address: [str(tmp_path / address.partition("@")[0])])
    alone = queue.put(MESSAGE, "s@example.org", ["a@example.org"])
    queue.put(MESSAGE, "s@example.org", ["a@example.org", "b@example.org"])
    work(queue, courier)
    assert states(queue) == {}
    mine = [message.key for message in Maildir(tmp_path / "a").messages()]
    assert len(mine) == 2
    assert any(key.startswith(alone) for key in mine)
    [other] = Maildir(tmp_path / "b").messages()
    stored = Maildir(tmp_path / "b").open(other.key).read()
    assert stored == b"Return-Path: <s@example.org>\nDelivered-To: b@example.org\n" + MESSAGE


def test_a_mailbox_that_is_not_there_is_a_temporary_failure(queue: Queue, tmp_path: Path) -> None:
    ident = queue.put(MESSAGE, "s@example.org", ["a@example.org"])
    work(queue, MaildirCourier(lambda _: [str(tmp_path / "nobody")]), Schedule())
    assert states(queue) == {"pending": "o"}
    assert "4.2.0" in str(queue.why(ident))
    assert not (tmp_path / "nobody").exists()


def test_an_item_that_cannot_be_read_is_kept_aside(queue: Queue, tmp_path: Path) -> None:
    queue.put(MESSAGE, "s@example.org", ["a@example.org"])
    [listed] = queue.items()
    (tmp_path / "spool" / listed.path).write_bytes(b"\0" * listed.item.size)
    work(queue, Script())
    assert [one.state for one in queue.items()] == ["corrupt"]


def test_who_works_without_bounces_gets_nothing_before_it_is_due(queue: Queue) -> None:
    queue.put(MESSAGE, "s@example.org", ["a@example.org", "b@example.org"])
    [claim] = queue.claim()
    claim.record_outcome("fo", 3600.0)
    assert queue.claim() == []
    [claim] = queue.claim(bounces=True)
    assert claim.item.states == "fo"
