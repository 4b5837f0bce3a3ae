"""Delivery ids, derived from ENVID (RFC 3461), envelope and body, by which a retry is recognised.

Where the administrator wants it, a message without ENVID has one too if it has a Message-ID: a sender that
repeats a message sends the same bytes. Without a Message-ID the same bytes may be two messages.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maildir_safe._smtp.backends.store import MailObject


_REPEATED = "\0"  # no ENVID has this character


async def delivery_ids(mail: MailObject, targets: Iterable[str], repeats: bool) -> dict[str, str | None]:
    """Make ids that only retries of the same deliveries share; ENVID alone is not trusted to be unique.

    Args:
        mail: the message; its body, sender and ENVID enter the ids.
        targets: the destinations; each enters its id.
        repeats: make ids of messages with a Message-ID too, if the client gave no ENVID.

    Returns:
        The id of each target; None for all targets if the message has neither.
    """
    envelope_id = mail.envelope_id
    if envelope_id is None and repeats and mail.message_id:
        envelope_id = _REPEATED
    if envelope_id is None:
        return dict.fromkeys(targets)
    return await asyncio.to_thread(_ids, mail, envelope_id, list(targets))


def _ids(mail: MailObject, envelope_id: str, targets: list[str]) -> dict[str, str | None]:
    message = hashlib.sha256()
    for piece in mail.body:
        message.update(piece)
    found: dict[str, str | None] = {}
    for target in targets:
        digest = message.copy()
        for part in (envelope_id, mail.sender, target):
            digest.update(b"\0" + part.encode(errors="surrogateescape"))
        found[target] = digest.hexdigest()
    return found
