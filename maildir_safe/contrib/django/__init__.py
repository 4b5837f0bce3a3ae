"""An email backend for Django: each message is durable in a spool before `send_mail` returns.

    # settings.py
    EMAIL_BACKEND = "maildir_safe.contrib.django.QueueBackend"
    MAILDIR_SAFE_SPOOL = "/var/spool/maildir-safe"

A worker sends the messages later, so that no request waits for a mail server and no mail is lost while one
is down: ``maildir-safe work``, or ``manage.py maildir_safe_work`` with this package in ``INSTALLED_APPS``.
The latter makes the spool if there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends.base import BaseEmailBackend
from django.utils.encoding import punycode

from maildir_safe._delivery.content import flatten
from maildir_safe._delivery.partial import PartialPut
from maildir_safe._submission import message, spool
from maildir_safe.errors import MaildirSafeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class QueueBackend(BaseEmailBackend):  # type: ignore[misc]  # Django has no types
    """Puts messages into a spool.

    Args:
        fail_silently: raise no error if messages cannot be queued; the count tells how many were.
        spool: the spool's path; the setting ``MAILDIR_SAFE_SPOOL`` if None.
        **options: passed on to Django's `BaseEmailBackend`.

    Raises:
        ImproperlyConfigured: no spool is named.
    """

    def __init__(self, fail_silently: bool = False, spool: str | None = None, **options: Any) -> None:
        super().__init__(fail_silently=fail_silently, **options)
        self._spool = spool or getattr(settings, "MAILDIR_SAFE_SPOOL", None)
        if not self._spool:
            raise ImproperlyConfigured("set MAILDIR_SAFE_SPOOL to the path of a spool")

    def send_messages(self, email_messages: Sequence[Any]) -> int:
        """Put messages into the spool. All that are counted are durable when this returns.

        Args:
            email_messages: Django's `EmailMessage` objects. One without recipients is left out.

        Returns:
            How many messages are in the queue.

        Raises:
            TemporaryError: the storage failed, and nothing was queued; after `UnknownOutcome` a message may
                have been, and after `PartialPut` some are. Not with `fail_silently`.
            PermanentError: an address is not valid, and nothing was queued. Not with `fail_silently`.
        """
        try:
            items = [item for one in email_messages if one.recipients() for item in _items(one)]
            if items:
                spool.open_spool(str(self._spool)).put_many(items)
            return sum(bool(one.recipients()) for one in email_messages)
        except PartialPut as partial:
            if not self.fail_silently:
                raise
            return _complete(email_messages, partial.results)
        except MaildirSafeError:
            if not self.fail_silently:
                raise
            return 0


def _items(one: Any) -> list[tuple[bytes, str, Sequence[str]]]:
    """The items of one message: one, unless it has more recipients than an item can."""
    sender = message.sender(one.from_email, "localhost")
    recipients = message.recipients(one.recipients(), "localhost")
    content = flatten(one.message())
    groups = spool.in_items(list(map(_ascii_domain, recipients)))
    return [(content, _ascii_domain(sender), group) for group in groups]


def _complete(email_messages: Iterable[Any], results: Sequence[Any]) -> int:
    """How many messages have all of their items in the queue."""
    rest = iter(results)
    counts = [[next(rest) for _ in _items(one)] for one in email_messages if one.recipients()]
    return sum(all(isinstance(result, str) for result in of_one) for of_one in counts)


def _ascii_domain(address: str) -> str:
    """The address with its domain in ASCII, as Django's SMTP backend sends it."""
    local, at, domain = address.rpartition("@")
    return local + at + punycode(domain) if at else address
