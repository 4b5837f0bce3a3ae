"""Maildir delivery and mail queues by rename() alone.

Safe on network file systems, durable before acknowledged, exactly once. Start with `Maildir`:

>>> from maildir_safe import Maildir
>>> receipt = Maildir("Maildir").deliver(b"Subject: hello\\n\\nworld\\n")
>>> receipt.durability
'full'
"""

from __future__ import annotations

import sys

if not sys.platform.startswith("linux"):
    raise ImportError(f"maildir_safe runs on Linux only, not on {sys.platform}: it needs directory fsync")

__version__ = "0.1.0"

_HOMES = {
    "Maildir": "maildir_safe._maildir.maildir",
    "Message": "maildir_safe._maildir.message_store",
    "PartialDelivery": "maildir_safe._delivery.partial",
    "Receipt": "maildir_safe._delivery.receipt",
    "LeaseLost": "maildir_safe.errors",
    "MaildirSafeError": "maildir_safe.errors",
    "NotAMaildir": "maildir_safe.errors",
    "PermanentError": "maildir_safe.errors",
    "Queue": "maildir_safe._queue.queue",
    "QuotaExceeded": "maildir_safe.errors",
    "TemporaryError": "maildir_safe.errors",
    "UnknownOutcome": "maildir_safe.errors",
}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._delivery.partial import PartialDelivery as PartialDelivery
    from maildir_safe._delivery.receipt import Receipt as Receipt
    from maildir_safe._maildir.maildir import Maildir as Maildir
    from maildir_safe._maildir.message_store import Message as Message
    from maildir_safe._queue.queue import Queue as Queue
    from maildir_safe.errors import (
        LeaseLost as LeaseLost,
        MaildirSafeError as MaildirSafeError,
        NotAMaildir as NotAMaildir,
        PermanentError as PermanentError,
        QuotaExceeded as QuotaExceeded,
        TemporaryError as TemporaryError,
        UnknownOutcome as UnknownOutcome,
    )


def __getattr__(name: str) -> object:
    """Load what is asked for, and no more: a mail delivery agent starts once a message (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'maildir_safe' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
