"""Bounces: telling a sender that recipients were given up (RFC 3464).

A bounce is not a second item. It is rebuilt each time it is needed, from the item and its notes. So
nothing can be lost between the failure and the bounce. Its Message-ID is derived from the item's id, so
that a receiver can recognise a bounce that was sent twice.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from email.header import Header
from email.message import Message
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import formatdate
from typing import TYPE_CHECKING

from maildir_safe._delivery.status import RecipientStatus, one_line
from maildir_safe._queue.couriers.courier import DeliveryRequest
from maildir_safe._queue.store.delivery_log import statuses as noted_statuses
from maildir_safe._queue.store.states import BOUNCE_DUE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

    from maildir_safe._queue.claim import Claim

_MOST_HEADERS = 64 * 1024


@dataclass(frozen=True, slots=True)
class Failure:
    """The failure that a bounce reports.

    Attributes:
        id: of the item.
        sender: the address that the bounce goes to.
        statuses: the last status of each recipient that was given up.
        host: our name.
        arrived, now: seconds since 1970.
    """

    id: str
    sender: str
    statuses: Mapping[str, RecipientStatus]
    host: str
    arrived: float
    now: float


def request(claim: Claim, host: str, now: float) -> DeliveryRequest:
    """Build the bounce of an item, as a request for a courier.

    Args:
        host: our name.
        now: seconds since 1970.

    Raises:
        PermanentError, TemporaryError: the item cannot be read (`Claim.open`).
    """
    envelope = claim.envelope
    statuses = dict.fromkeys(
        envelope.in_state(BOUNCE_DUE), RecipientStatus(550, "5.0.0 given up; no answer was kept")
    )
    for note in claim.notes():
        statuses |= {who: said for who, said in noted_statuses(note).items() if who in statuses}
    failure = Failure(claim.id, envelope.sender, statuses, host, claim.item.arrived, now)
    with claim.open() as original:
        message = build(failure, original)
    return DeliveryRequest(claim.id, "", (envelope.sender,), lambda: io.BytesIO(message), claim.confirm)


def build(failure: Failure, original: BinaryIO) -> bytes:
    """The bounce as a message: a part for people, a part for programs, and the original's headers.

    Args:
        original: the message that was not delivered; only its headers are read.
    """
    report = MIMEMultipart("report")
    report.set_param("report-type", "delivery-status")
    report["From"] = f"Mail Delivery System <MAILER-DAEMON@{failure.host}>"
    report["To"] = _header(f"<{failure.sender}>")
    report["Subject"] = "Undelivered Mail Returned to Sender"
    report["Date"] = formatdate(failure.now)
    report["Message-ID"] = f"<bounce.{failure.id}@{failure.host}>"
    report["Auto-Submitted"] = "auto-replied"
    report.attach(_text(_for_people(failure), "plain"))
    report.attach(_for_programs(failure))
    report.attach(_text(_headers(original).decode("utf-8", "replace"), "rfc822-headers"))
    return report.as_bytes()


def _text(text: str, subtype: str) -> MIMEText:
    """A part as it stands if it is ASCII, so that people can also read it in a mail log or a raw message."""
    return MIMEText(text, subtype, "us-ascii" if text.isascii() else "utf-8")


def _for_people(failure: Failure) -> str:
    lines = [
        f"This is the mail system at {failure.host}.",
        "",
        "Your message could not be delivered to the recipients below, and no further attempt will be made.",
        "",
    ]
    lines += [f"<{who}>: {one_line(status.text)}" for who, status in failure.statuses.items()]
    return "\n".join(lines) + "\n"


def _for_programs(failure: Failure) -> MIMEBase:
    """One group of fields about the message, and one per recipient (RFC 3464 sections 2.2 and 2.3)."""
    about = Message()
    about["Reporting-MTA"] = f"dns; {failure.host}"
    about["X-Queue-ID"] = failure.id
    about["Arrival-Date"] = formatdate(failure.arrived)
    groups: list[Message | str] = [about]
    for recipient, status in failure.statuses.items():
        group = Message()
        group["Final-Recipient"] = _header(f"rfc822; {recipient}")
        group["Action"] = "failed"
        # 5.4.7: delivery time expired
        group["Status"] = status.enhanced_code if status.permanent else "5.4.7"
        group["Diagnostic-Code"] = _header(f"smtp; {status.code} {one_line(status.text)}")
        groups.append(group)
    report = MIMEBase("message", "delivery-status")
    report.set_payload(groups)
    return report


def _headers(original: BinaryIO) -> bytes:
    """All lines before the first empty one, but not many more than `_MOST_HEADERS` bytes."""
    kept = bytearray()
    while len(kept) < _MOST_HEADERS and (line := original.readline(_MOST_HEADERS)).strip():
        kept += line
    return bytes(kept)


def _header(text: str) -> str:
    return text if text.isascii() else Header(text.encode("utf-8", "replace").decode(), "utf-8").encode()
