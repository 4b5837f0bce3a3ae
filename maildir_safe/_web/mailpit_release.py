"""Mailpit's release of a message to real recipients: POST /api/v1/message/ID/release.

It goes to one server, and to addresses that the operator has allowed; else nothing leaves a test server.
"""

from __future__ import annotations

import asyncio
import io
from email.utils import format_datetime, localtime, make_msgid

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._mail.addresses import mailboxes
from maildir_safe._mail.fields import read_fields as read_header
from maildir_safe._mail.structure import Structure
from maildir_safe._queue.couriers.courier import DeliveryRequest, answer_of
from maildir_safe._smtp.protocol.address import parse_recipient, parse_sender
from maildir_safe._smtp.protocol.replies import Refused
from maildir_safe._smtp.server.relay import Relay
from maildir_safe._web.inbox import MOST_READ, Inbox
from maildir_safe._web.mailpit import ok
from maildir_safe._web.mailpit_body import read_fields
from maildir_safe._web.mailpit_message import find_message
from maildir_safe._web.parameters import bad
from maildir_safe._web.placed import Placed

_MOST_RECIPIENTS = 100
_LONGEST = 1000  # characters of an address with its name
# as Mailpit replaces Date and Message-ID, and hides Bcc; the others belong to our delivery
_REPLACED = ("date", "message-id", "bcc", "return-path", "delivered-to", "x-original-to")


async def release(request: Request) -> Response:
    """Send a message to real recipients, by the server and to the addresses that the operator allows.

    It gets a new Date and Message-ID, and loses Bcc, as in Mailpit. The answer comes once that server has it.
    """
    message = await find_message(request)
    fields = await read_fields(request, To=list)
    await released(request, message, fields.get("To", []))
    return ok()


async def released(request: Request, message: Placed, to: list[str]) -> None:
    """Send a message on.

    Args:
        request: the request that asks for it.
        message: the message.
        to: the addresses.

    Raises:
        HTTPException: 400, an address is not allowed, or that server refused it; 413, the message is too
            long; 503, it may succeed later.
    """
    relay: Relay | None = request.app.state.relay
    if relay is None:
        raise bad("Release is not enabled: start the server with --relay and --relay-to")
    recipients = _checked(relay, to)
    inbox: Inbox = request.app.state.inbox

    def send() -> dict[str, RecipientStatus]:
        raw = inbox.read(message.key, MOST_READ + 1)
        if len(raw) > MOST_READ:
            raise HTTPException(413, f"the message is longer than {MOST_READ} bytes")
        sender, changed = rewritten(raw, relay.hostname)
        wanted = DeliveryRequest(message.key, sender, recipients, lambda: io.BytesIO(changed), lambda: None)
        return answer_of(relay.courier, wanted)

    async with request.app.state.releasing:
        statuses = await asyncio.to_thread(send)
    _raise_for(statuses)


def _checked(relay: Relay, given: list[str]) -> tuple[str, ...]:
    """The recipients as bare addresses, each once. Raises HTTPException: 400."""
    if len(given) > _MOST_RECIPIENTS:
        raise bad(f"To: more than {_MOST_RECIPIENTS} recipients")
    found = dict.fromkeys(_address(one) for one in given)
    if not found:
        raise bad("No valid addresses found")
    refused = [address for address in found if not relay.allows(address)]
    if refused:
        word = "Address does" if len(refused) == 1 else "Addresses do"
        raise bad(f"Failed: {word} not match the allowlist: {', '.join(refused)}")
    return (*found,)


def _address(given: str) -> str:
    wrong = bad(f"Invalid email address: {given[:200]}")
    if not given.isprintable() or len(given) > _LONGEST:
        raise wrong
    try:
        (box,) = mailboxes(given.encode())
        address = parse_recipient(f"TO:<{box.address}>", utf8=True).address
    except (Refused, ValueError):
        raise wrong from None
    if "@" not in address or ("<" not in given and given.strip() != address):
        raise wrong  # what was read may not be what was meant
    return address


def rewritten(raw: bytes, hostname: str) -> tuple[str, bytes]:
    """The envelope's sender, and the message as it leaves us.

    Raises:
        HTTPException: 400, it has no sender, too many fields, or a binary part.
    """
    leaves = Structure(raw).leaves()
    if any(part.coding == "binary" and not part.content_type.startswith("text/") for part in leaves):
        raise bad("Failed: a part of the message is binary (BINARYMIME), which DATA cannot carry")
    fields, body = read_header(raw)
    if fields.cut:
        raise bad("Failed: the message has too many header fields")
    senders = [*mailboxes(fields.bytes_of("sender")), *mailboxes(fields.bytes_of("from"))]
    sender = next((box.address for box in senders if box.address), "")
    try:
        sender = parse_sender(f"FROM:<{sender}> SMTPUTF8").address
    except Refused:
        sender = ""
    if not sender:
        raise bad("No From header found")
    ours = (("Date", format_datetime(localtime())), ("Message-ID", make_msgid(domain=hostname)))
    kept = [(name, value) for name, value in fields.raw if name.lower() not in _REPLACED]
    lines = [f"{name}: {value}\n".encode() for name, value in ours]
    lines += [b"%b: %b\n" % (name.encode("ascii"), value) for name, value in kept]
    return sender, b"".join([*lines, b"\n", raw[body:]])


def _raise_for(statuses: dict[str, RecipientStatus]) -> None:
    """Raises HTTPException: 400, a recipient was refused; 503, one may succeed later."""
    failed = {who: status for who, status in statuses.items() if not status.done}
    if not failed:
        return
    told = "; ".join(f"{who}: {status.reply}" for who, status in failed.items())
    done = [who for who, status in statuses.items() if status.done]
    told += f"; released to {', '.join(done)}" * bool(done)
    code = 400 if any(status.permanent for status in failed.values()) else 503
    raise HTTPException(code, f"SMTP error: {told}")


ROUTES = [Route("/api/v1/message/{id}/release", release, methods=["POST"])]
