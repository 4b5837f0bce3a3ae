"""By which a second try of a delivery is recognised: made of ENVID (RFC 3461) and of what it is about."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maildir_safe._smtp.backends.store import MailObject


async def delivery_ids(mail: MailObject, targets: Iterable[str]) -> dict[str, str | None]:
    """Ids that only another try of the same deliveries has: the client's ENVID alone may be anything.

    Args:
        mail: its bytes, sender and ENVID count.
        targets: where it goes.

    Returns:
        An id for each target; None for all of them where the client gave no ENVID.
    """
    if mail.envelope_id is None:
        return dict.fromkeys(targets)
    return await asyncio.to_thread(_ids, mail, mail.envelope_id, list(targets))


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
