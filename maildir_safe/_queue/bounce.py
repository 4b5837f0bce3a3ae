"""Reports to a sender (RFC 3464) about recipients who were given up or, if asked for, have the message.

A report is not a second item. It is rebuilt each time it is needed, from the item and its notes. So
nothing can be lost between the failure and the report. Its Message-ID is derived from the item's id and
the recipients, so that a receiver can recognise a report that was sent twice.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from email.encoders import encode_base64
from email.message import Message
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import formatdate
from typing import TYPE_CHECKING

from maildir_safe._delivery.dsn import FAILURE, SUCCESS, Dsn, from_xtext, in_ascii
from maildir_safe._delivery.status import RecipientStatus, one_line
from maildir_safe._queue.couriers.courier import DeliveryRequest
from maildir_safe._queue.store.delivery_log import statuses as noted_statuses
from maildir_safe._queue.store.states import BOUNCE_DUE, REPORT_DUE

if TYPE_CHECKING:
    from typing import BinaryIO

    from maildir_safe._queue.claim import Claim
    from maildir_safe._queue.store.envelope import Envelope

_MOST_HEADERS = 64 * 1024
_MOST_RETURNED = 50_000  # bytes of a message that is returned in full, as in Postfix
_FAILED = RecipientStatus(550, "5.0.0 given up; no answer was kept")
_DELIVERED = RecipientStatus(250, "2.0.0 delivered")
_SUBJECTS = {True: "Undelivered Mail Returned to Sender", False: "Successful Mail Delivery Report"}
_SAID = {
    "failed": "could not be delivered to the recipients below, and no further attempt will be made.",
    "delivered": "was delivered to the recipients below.",
    "relayed": "was handed to the next mail server for the recipients below. It may send no further reports.",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says.

    Attributes:
        id: of the item.
        sender: the address that the report goes to.
        statuses: per recipient the action (`_SAID`), and the last status.
        host: our name.
        arrived, now: seconds since 1970.
        dsn: what the sender asked for.
    """

    id: str
    sender: str
    statuses: dict[str, tuple[str, RecipientStatus]]
    host: str
    arrived: float
    now: float
    dsn: Dsn

    @property
    def failed(self) -> bool:
        """Whether a recipient was given up."""
        return any(action == "failed" for action, _ in self.statuses.values())


def told_now(envelope: Envelope) -> list[str]:
    """The recipients of whom the sender is to be told now, and wants to be."""
    wanted = {BOUNCE_DUE: FAILURE, REPORT_DUE: SUCCESS}
    return [
        who
        for who, state in zip(envelope.recipients, envelope.states, strict=True)
        if state in wanted and envelope.wants(who, wanted[state])
    ]


def request(claim: Claim, host: str, now: float, relayed: bool = False) -> DeliveryRequest:
    """Build the report about an item, as a request for a courier.

    Args:
        host: our name.
        now: seconds since 1970.
        relayed: what succeeded was handed to another server.

    Raises:
        PermanentError, TemporaryError: the item cannot be read (`Claim.open`).
    """
    envelope = claim.envelope
    failed = envelope.in_state(BOUNCE_DUE)
    statuses = {who: _FAILED if who in failed else _DELIVERED for who in told_now(envelope)}
    for note in claim.notes():
        said = noted_statuses(note)
        statuses |= {who: said[who] for who in statuses if who in said and (who in failed or said[who].done)}
    success = "relayed" if relayed else "delivered"
    actions = {who: ("failed" if who in failed else success, status) for who, status in statuses.items()}
    report = Report(claim.id, envelope.sender, actions, host, claim.item.arrived, now, envelope.dsn or Dsn())
    mark = sum(1 << at for at, who in enumerate(envelope.recipients) if who in statuses)
    with claim.open() as original:
        message = build(report, f"{claim.id}.{mark:x}", original, claim.item.size)
    return DeliveryRequest(claim.id, "", (envelope.sender,), lambda: io.BytesIO(message), claim.confirm)


def build(report: Report, unique: str, original: BinaryIO, size: int) -> bytes:
    """The report as a message: a part for people, a part for programs, and the original or its headers.

    Args:
        unique: for Message-ID.
        original: the message.
        size: its size in bytes, or a little more.
    """
    whole = MIMEMultipart("report")
    whole.set_param("report-type", "delivery-status")
    whole["From"] = f"Mail Delivery System <MAILER-DAEMON@{report.host}>"
    whole["Subject"] = _SUBJECTS[report.failed]
    whole["Date"] = formatdate(report.now)
    whole["Message-ID"] = f"<bounce.{unique}@{report.host}>"
    whole["Auto-Submitted"] = "auto-replied"
    whole.attach(_text(_for_people(report), "plain"))
    whole.attach(_for_programs(report))
    full = report.failed and report.dsn.returns == "FULL" and size <= _MOST_RETURNED
    # Not everything by `email`. It would encode an address that is not ASCII, which a courier sends as UTF-8
    # (RFC 6532); and it would change the message, which may not be encoded (RFC 2046 section 5.2.1).
    to = f"To: <{report.sender}>\n".encode("utf-8", "surrogateescape")
    if not full:
        whole.attach(_returned_headers(_headers(original)))
        return to + whole.as_bytes()
    returned = original.read()
    here = os.urandom(16).hex()
    whole.attach(_returned(here, returned.isascii()))
    return to + whole.as_bytes().replace(here.encode(), returned)


def _text(text: str, subtype: str) -> MIMEText:
    """A part as it stands if it is ASCII, so that people can also read it in a mail log or a raw message."""
    return MIMEText(text, subtype, "us-ascii" if text.isascii() else "utf-8")


def _for_people(report: Report) -> str:
    lines = [f"This is the mail system at {report.host}.", ""]
    for action, said in _SAID.items():
        found = [(who, status) for who, (done, status) in report.statuses.items() if done == action]
        if found:
            lines += [f"Your message {said}", ""]
            lines += [*(f"<{who}>: {one_line(status.text)}" for who, status in found), ""]
    return "\n".join(lines)


def _for_programs(report: Report) -> MIMEBase:
    """One group of fields about the message, and one per recipient (RFC 3464 sections 2.2 and 2.3).

    All in ASCII, whatever the addresses are: a report must not fail for what the next server can take.
    """
    about = Message()
    if report.dsn.envelope_id:
        about["Original-Envelope-Id"] = in_ascii(from_xtext(report.dsn.envelope_id))
    about["Reporting-MTA"] = f"dns; {report.host}"
    about["X-Queue-ID"] = report.id
    about["Arrival-Date"] = formatdate(report.arrived)
    groups: list[Message | str] = [about]
    for recipient, (action, status) in report.statuses.items():
        group = Message()
        if original := report.dsn.originals.get(recipient):
            kind, _, address = original.partition(";")
            group["Original-Recipient"] = _typed(kind, from_xtext(address))
        group["Final-Recipient"] = _typed("rfc822", recipient)
        group["Action"] = action
        # 5.4.7: delivery time expired
        expired = action == "failed" and not status.permanent
        group["Status"] = "5.4.7" if expired else status.enhanced_code
        group["Diagnostic-Code"] = f"smtp; {status.code} {in_ascii(one_line(status.text))}"
        groups.append(group)
    part = MIMEBase("message", "delivery-status")
    part.set_payload(groups)
    return part


def _typed(kind: str, address: str) -> str:
    return f"{kind if address.isascii() else 'utf-8'}; {in_ascii(address)}"


def _returned(payload: str, is_ascii: bool) -> MIMEBase:
    part = MIMEBase("message", "rfc822")
    if not is_ascii:
        part["Content-Transfer-Encoding"] = "8bit"
    part.set_payload(payload)
    return part


def _returned_headers(headers: bytes) -> MIMEBase:
    """The headers of the message; those in UTF-8 as RFC 6533 section 4.2 has them."""
    if headers.isascii():
        return _text(headers.decode(), "rfc822-headers")
    part = MIMEBase("message", "global-headers")
    part.set_payload(headers)
    encode_base64(part)
    return part


def _headers(original: BinaryIO) -> bytes:
    """All lines before the first empty one, but not many more than `_MOST_HEADERS` bytes."""
    kept = bytearray()
    while len(kept) < _MOST_HEADERS and (line := original.readline(_MOST_HEADERS)).strip():
        kept += line
    return bytes(kept)
