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
    "Claim": "maildir_safe._queue.claim",
    "Courier": "maildir_safe._queue.couriers.courier",
    "DeliveryRequest": "maildir_safe._queue.couriers.courier",
    "Maildir": "maildir_safe._maildir.maildir",
    "MaildirCourier": "maildir_safe._queue.couriers.maildir",
    "Message": "maildir_safe._maildir.message_store",
    "PartialDelivery": "maildir_safe._maildir.maildir",
    "PartialPut": "maildir_safe._queue.queue",
    "Receipt": "maildir_safe._delivery.receipt",
    "LeaseLost": "maildir_safe.errors",
    "MaildirSafeError": "maildir_safe.errors",
    "NotAMaildir": "maildir_safe.errors",
    "PermanentError": "maildir_safe.errors",
    "Queue": "maildir_safe._queue.queue",
    "QueueEntry": "maildir_safe._queue.admin",
    "QuotaExceeded": "maildir_safe.errors",
    "RecipientStatus": "maildir_safe._delivery.status",
    "Schedule": "maildir_safe._queue.schedule",
    "SmtpCourier": "maildir_safe._queue.couriers.smtp",
    "TemporaryError": "maildir_safe.errors",
    "UnknownOutcome": "maildir_safe.errors",
    "Worker": "maildir_safe._queue.worker",
}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._delivery.receipt import Receipt as Receipt
    from maildir_safe._delivery.status import RecipientStatus as RecipientStatus
    from maildir_safe._maildir.maildir import Maildir as Maildir, PartialDelivery as PartialDelivery
    from maildir_safe._maildir.message_store import Message as Message
    from maildir_safe._queue.admin import QueueEntry as QueueEntry
    from maildir_safe._queue.claim import Claim as Claim
    from maildir_safe._queue.couriers.courier import (
        Courier as Courier,
        DeliveryRequest as DeliveryRequest,
    )
    from maildir_safe._queue.couriers.maildir import MaildirCourier as MaildirCourier
    from maildir_safe._queue.couriers.smtp import SmtpCourier as SmtpCourier
    from maildir_safe._queue.queue import PartialPut as PartialPut, Queue as Queue
    from maildir_safe._queue.schedule import Schedule as Schedule
    from maildir_safe._queue.worker import Worker as Worker
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
