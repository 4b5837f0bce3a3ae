"""Puts a submitted message into the spool."""

from __future__ import annotations

import os

from maildir_safe._delivery.trace_headers import client_name, date
from maildir_safe._queue.puts import QueuePuts
from maildir_safe._queue.store.item import MAX_RECIPIENTS
from maildir_safe._submission import NO_PERMISSION, Rejected
from maildir_safe.errors import TemporaryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from maildir_safe._delivery.dsn import Dsn

MAX_HOPS = 100
"""Received fields at which a message is refused as looping, as `serve --queue` does."""


def received(host: str, program: str, now: float) -> bytes:
    """The Received field of a submission.

    Args:
        host: the name of this host.
        program: the name of the program that was called.
        now: seconds since 1970.
    """
    by = f"by {client_name(host)} (maildir-safe {program}, from uid {os.getuid()})"
    return f"Received: {by};\n\t{date(now)}\n".encode()


def open_spool(path: str) -> QueuePuts:
    """Open a spool for puts. Root acts as the spool's owner, who can then deliver what root has put.

    Raises:
        TemporaryError: there is no spool, or it cannot be used.
        Rejected: this user may not use it (exit code 77).
    """
    try:
        return QueuePuts(path, create=False, shared=False)
    except TemporaryError as error:
        if isinstance(error.__cause__, PermissionError):
            raise _forbidden(str(error)) from error
        raise


def in_items(recipients: Sequence[str]) -> list[Sequence[str]]:
    """Divide the recipients of a message into as few items as possible."""
    return [recipients[at : at + MAX_RECIPIENTS] for at in range(0, len(recipients), MAX_RECIPIENTS)]


def put(
    queue: QueuePuts,
    message: tuple[bytes, ...],
    envelopes: Sequence[tuple[str, Sequence[str]]],
    dsn: Dsn | None = None,
) -> list[str]:
    """Put a message into the queue. It is durable when this returns.

    Up to 50 recipients of one sender are one item: a crash leaves the whole message or nothing. More are
    several items, and a crash may leave some of them.

    Args:
        queue: the spool.
        message: the pieces of the message.
        envelopes: senders, each with its recipients.
        dsn: the reports that the sender asks for.

    Returns:
        The ids of the items.

    Raises:
        TemporaryError: the message was not queued, or was queued in part (`PartialPut`), or perhaps
            (`UnknownOutcome`).
        PermanentError: an address would break the envelope.
        Rejected: this user may not write into the spool (exit code 77).
    """
    items = [(message, sender, group) for sender, recipients in envelopes for group in in_items(recipients)]
    try:
        return [queue.put(*items[0], dsn=dsn)] if len(items) == 1 else queue.put_many(items, dsn=dsn)
    except TemporaryError as error:
        if len(items) == 1 and isinstance(error.__cause__, PermissionError):
            raise _forbidden(str(error)) from error
        raise


def _forbidden(reason: str) -> Rejected:
    return Rejected(f"{reason} (this runs as uid {os.geteuid()})", NO_PERMISSION)
