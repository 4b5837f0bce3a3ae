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
    "LeaseLost": "maildir_safe.errors",
    "Maildir": "maildir_safe._maildir.maildir",
    "MaildirCourier": "maildir_safe._queue.couriers.maildir",
    "MaildirSafeError": "maildir_safe.errors",
    "Message": "maildir_safe._maildir.message_store",
    "NotAMaildir": "maildir_safe.errors",
    "PartialDelivery": "maildir_safe._delivery.partial",
    "PartialPut": "maildir_safe._delivery.partial",
    "PermanentError": "maildir_safe.errors",
    "Queue": "maildir_safe._queue.queue",
    "QueueEntry": "maildir_safe._queue.admin",
    "QuotaExceeded": "maildir_safe.errors",
    "Receipt": "maildir_safe._delivery.receipt",
    "RecipientStatus": "maildir_safe._delivery.status",
    "Schedule": "maildir_safe._queue.schedule",
    "SmtpCourier": "maildir_safe._queue.couriers.smtp",
    "TemporaryError": "maildir_safe.errors",
    "UnknownOutcome": "maildir_safe.errors",
    "Worker": "maildir_safe._queue.worker",
}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._delivery.partial import PartialDelivery, PartialPut
    from maildir_safe._delivery.receipt import Receipt
    from maildir_safe._delivery.status import RecipientStatus
    from maildir_safe._maildir.maildir import Maildir
    from maildir_safe._maildir.message_store import Message
    from maildir_safe._queue.admin import QueueEntry
    from maildir_safe._queue.claim import Claim
    from maildir_safe._queue.couriers.courier import Courier, DeliveryRequest
    from maildir_safe._queue.couriers.maildir import MaildirCourier
    from maildir_safe._queue.couriers.smtp import SmtpCourier
    from maildir_safe._queue.queue import Queue
    from maildir_safe._queue.schedule import Schedule
    from maildir_safe._queue.worker import Worker
    from maildir_safe.errors import (
        LeaseLost,
        MaildirSafeError,
        NotAMaildir,
        PermanentError,
        QuotaExceeded,
        TemporaryError,
        UnknownOutcome,
    )

__all__ = [
    "Claim",
    "Courier",
    "DeliveryRequest",
    "LeaseLost",
    "Maildir",
    "MaildirCourier",
    "MaildirSafeError",
    "Message",
    "NotAMaildir",
    "PartialDelivery",
    "PartialPut",
    "PermanentError",
    "Queue",
    "QueueEntry",
    "QuotaExceeded",
    "Receipt",
    "RecipientStatus",
    "Schedule",
    "SmtpCourier",
    "TemporaryError",
    "UnknownOutcome",
    "Worker",
    "__version__",
]


def __getattr__(name: str) -> object:
    """Load what is asked for, and no more: a mail delivery agent starts once a message (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'maildir_safe' has no attribute {name!r}")
    return getattr(__import__(_HOMES[name], fromlist=(name,)), name)  # `importlib` would be one more module


def __dir__() -> list[str]:
    """What is public."""
    return sorted(__all__)
