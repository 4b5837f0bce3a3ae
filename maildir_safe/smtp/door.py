"""What all connections of one listener share."""

from __future__ import annotations

import asyncio

from maildir_safe.smtp.limits import Budget, Hold

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Coroutine
    from typing import Any

    from maildir_safe.smtp.log import MessageLog
    from maildir_safe.smtp.session import SmtpSession
    from maildir_safe.smtp.store import Result, Store


class Door:
    """The rules and the shared state of one listener in one process.

    Args:
        store: where mail goes.
        log: told of each message.
        budget: limits of all listeners and processes together.
        hostname: our name in greetings and Received headers.
        max_size: bytes of one message.
        max_recipients: of one message.
        timeout: seconds a client may be silent (RFC 5321 4.5.3.2: at least 300).
        tls: for STARTTLS, or None.
        tls_required: whether mail is refused before STARTTLS.
        auth_required: whether mail is refused before AUTH.
    """

    def __init__(
        self,
        store: Store,
        log: MessageLog,
        budget: Budget,
        *,
        hostname: str,
        max_size: int,
        max_recipients: int,
        timeout: float,
        tls: ssl.SSLContext | None = None,
        tls_required: bool = False,
        auth_required: bool = False,
    ) -> None:
        self.store = store
        self.log = log
        self.hostname = hostname
        self.max_size = max_size
        self.max_recipients = max_recipients
        self.timeout = timeout
        self.tls = tls
        self.tls_required = tls_required
        self.auth_required = auth_required
        self._budget = budget
        self._sessions: set[SmtpSession] = set()
        self._deliveries: set[asyncio.Task[list[Result]]] = set()

    def enter(self, session: SmtpSession) -> bool:
        """A connection was made; False if there are too many."""
        if not self._budget.connect():
            return False
        self._sessions.add(session)
        return True

    def leave(self, session: SmtpSession) -> None:
        """A connection that was let in is gone."""
        self._sessions.discard(session)
        self._budget.disconnect()

    def hold(self) -> Hold:
        """Room for the message that is about to arrive."""
        return Hold(self._budget, self.max_size)

    def spawn(self, delivery: Coroutine[Any, Any, list[Result]]) -> asyncio.Task[list[Result]]:
        """Start a delivery that goes on when its connection ends."""
        task = asyncio.create_task(delivery)
        self._deliveries.add(task)
        task.add_done_callback(self._deliveries.discard)
        return task

    def extensions(self, tls: bool) -> str:
        """The answer to EHLO or LHLO, several lines, without the last CRLF.

        DSN (RFC 3461) is said in test mode only: its parameters are always taken, but whoever says
        it also promises reports that this server never sends.
        """
        words = ["PIPELINING", f"SIZE {self.max_size}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
        if self.tls is not None and not tls:
            words.append("STARTTLS")
        if self.store.test_mode:
            words.append("DSN")
        lines = [self.hostname, *words]
        return "\r\n".join(["250-" + line for line in lines[:-1]] + ["250 " + lines[-1]])

    async def close(self, grace: float) -> None:
        """Send everybody home; wait at most `grace` seconds for messages being received or stored."""
        for session in list(self._sessions):
            session.say_goodbye()
        end = asyncio.get_running_loop().time() + grace
        while (self._sessions or self._deliveries) and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.02)
