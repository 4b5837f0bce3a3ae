"""What a user writes, as a type checker sees it: every public name, in the ordinary way."""

from __future__ import annotations

from collections.abc import Mapping
from email.message import EmailMessage
from typing import assert_type

import maildir_safe
from maildir_safe import (
    Claim,
    DeliveryRequest,
    Maildir,
    MaildirCourier,
    Message,
    PartialDelivery,
    Queue,
    Receipt,
    RecipientStatus,
    Schedule,
    SmtpCourier,
    TemporaryError,
    UnknownOutcome,
    Worker,
    mailbox,
)


def deliver(maildir: Maildir, message: EmailMessage) -> str:
    try:
        receipt = maildir.deliver(message, sender="a@example.org", delivery_id="q1")
    except UnknownOutcome as error:
        return error.path or ""
    except TemporaryError as error:
        return error.status
    assert_type(receipt, Receipt)
    return receipt.durability


def deliver_many(maildir: Maildir) -> list[Receipt]:
    try:
        return maildir.deliver_many([b"one", "two"])
    except PartialDelivery as error:
        return [result for result in error.results if isinstance(result, Receipt)]


def subjects(maildir: Maildir) -> list[bytes]:
    found: list[bytes] = []
    for message in maildir.messages():
        assert_type(message, Message)
        with maildir.open(message.key) as file:
            found.append(file.readline())
    return found


def courier(request: DeliveryRequest) -> Mapping[str, RecipientStatus]:
    with request.open() as file:
        file.read()
    return dict.fromkeys(request.recipients, RecipientStatus(250, "2.0.0 taken"))


def silent_courier(request: DeliveryRequest) -> None:
    request.open().close()


def work(queue: Queue) -> int:
    for each in (
        courier,
        silent_courier,
        SmtpCourier("localhost"),
        MaildirCourier(lambda address: [address]),
    ):
        Worker(queue, each, schedule=Schedule()).run_once()
    return Worker(queue, courier, bounces=silent_courier).run_once()


def by_hand(queue: Queue) -> None:
    ident = queue.put(b"Subject: x\n\n", "", ["you@example.org"])
    assert_type(ident, str)
    for claim in queue.claim(limit=10, wait=1.0):
        assert_type(claim, Claim)
        claim.retry(60.0)


def drop_in(box: mailbox.Maildir) -> list[str]:
    return [str(message["subject"]) for message in box]


version: str = maildir_safe.__version__
