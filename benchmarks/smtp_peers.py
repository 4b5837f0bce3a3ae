"""Servers that ours is measured against: ``python -m benchmarks.smtp_peers KIND ADDRESS BOX``.

* ``noop``: aiosmtpd as it is, with a handler that stores nothing: what the protocol alone costs;
* ``mailbox``: aiosmtpd with its own `handlers.Mailbox`, on the standard library's mailbox.Maildir;
* ``front``: our front end, with a store that stores nothing.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import SMTP

from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._smtp.backends.store import MailObject
from maildir_safe._smtp.server.bind import listen
from maildir_safe._smtp.server.limits import MemoryBudget
from maildir_safe._smtp.server.message_log import MessageLog
from maildir_safe._smtp.server.server import Server
from maildir_safe._smtp.server.server_context import ServerContext


class Noop:
    """Answers 250 to everything."""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: ARG002
        """aiosmtpd's hook at the end of a message."""
        return "250 OK"


class Nowhere:
    """A store of ours that keeps nothing."""

    test_mode = True
    sends_reports = False
    keeps_binary = False
    busy = False

    def close(self) -> None:
        """Nothing runs."""

    async def locate(self, address: str) -> str:
        """Everybody has a mailbox."""
        return address

    async def store(self, mail: MailObject) -> list[RecipientStatus]:
        """As if it were stored."""
        return [
            RecipientStatus(250, "2.0.0 Stored as key", stored="/nowhere/new/key", durability="none")
        ] * len(mail.recipients)


async def _serve(kind: str, address: str, box: str) -> None:
    loop = asyncio.get_running_loop()
    sock = listen(address)
    if kind == "front":
        context = ServerContext(
            Nowhere(), MessageLog(sys.stderr), MemoryBudget(100, 2**28),
            hostname="front", max_size=2**25, max_recipients=100, timeout=300,
        )  # fmt: skip
        await Server(context, [sock], []).start()
    else:
        handler: Any = Noop() if kind == "noop" else Mailbox(Path(box))
        await loop.create_server(lambda: SMTP(handler, loop=loop, hostname="peer"), sock=sock, backlog=512)
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.getLogger("mail.log").setLevel(logging.ERROR)  # as in ours: it formats nothing below
    asyncio.run(_serve(*sys.argv[1:]))
