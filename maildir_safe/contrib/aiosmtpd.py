"""A handler for aiosmtpd: each message is durable in a Maildir before the client receives 250.

    from aiosmtpd.controller import Controller
    from maildir_safe.contrib.aiosmtpd import MaildirHandler

    Controller(MaildirHandler("/mnt/mail/inbox"), port=1025).start()

or ``python -m aiosmtpd -n -c maildir_safe.contrib.aiosmtpd.MaildirHandler /mnt/mail/inbox``. It takes the
place of aiosmtpd's own ``handlers.Mailbox``, which delivers inside the event loop, fsyncs no
directory, and answers 500 with local paths where a mount refuses hard links. For a server of your own
use ``maildir-safe serve``; this handler is for programs that already use aiosmtpd.
"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from aiosmtpd.smtp import Envelope, Session

from maildir_safe import Maildir
from maildir_safe._delivery.content import gap
from maildir_safe._delivery.incoming import without_mbox_line
from maildir_safe._delivery.trace_headers import delivered_to
from maildir_safe._smtp.protocol.replies import INTERNAL, for_error


class MaildirHandler:
    """Delivers into one Maildir for many concurrent sessions, which share fsyncs.

    Args:
        path: the Maildir; it is made if the directory above exists.
        require: refuse messages, temporarily, whose durability would be below this level.
        staging: where messages are written first, ``"tmp"`` or ``"new"``, as for `maildir_safe.Maildir`.

    Raises:
        NotAMaildir: it cannot be opened or made.
    """

    def __init__(self, path: str, require: str | None = None, staging: str | None = None) -> None:
        self._maildir = Maildir(path, require=require, staging=staging)

    @classmethod
    def from_cli(cls, parser: ArgumentParser, *args: str) -> MaildirHandler:
        """Make a handler from the command line of ``python -m aiosmtpd``: one argument, the Maildir."""
        if len(args) != 1:
            parser.error("MaildirHandler takes one argument, the Maildir")
        return cls(args[0])

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:  # noqa: ARG002
        """aiosmtpd's hook at the end of a message.

        Returns:
            250 once the message is durable; 451 or 452 for a fault of the storage, 554 for an address
            that would break the headers. No reply contains a local path. The client keeps a refused message.
        """
        content = envelope.content or b""
        data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
        body = without_mbox_line(data.replace(b"\r\n", b"\n"))
        first, *others = envelope.rcpt_tos
        try:
            head = delivered_to(others)
            receipt = await self._maildir.deliver_async(
                head + gap(body) + body if head else body, sender=envelope.mail_from or "", recipient=first
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the client keeps the message
            return for_error(error)
        return f"250 2.0.0 Stored as {receipt.key}"

    async def handle_exception(self, error: Exception) -> str:  # noqa: ARG002
        """aiosmtpd's hook for other errors: a temporary reply that does not contain the error's text."""
        return INTERNAL
