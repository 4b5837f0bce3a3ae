"""One SMTP connection: aiosmtpd's command loop, STARTTLS and timeouts, with our own rules for mail.

aiosmtpd reads commands and knows their order. What is replaced here, and why: MAIL and RCPT (its
address parser takes control characters, and no DSN parameters), DATA (it reads line by line and
refuses long lines), EHLO (one write for each line), replies (no enhanced codes), the end of input
(it drops a message whose client has closed its sending side and waits for the answer), AUTH (it
checks passwords inside the event loop).
"""

from __future__ import annotations

import asyncio
import collections
import time

from aiosmtpd.smtp import SMTP, TLSSetupException

from maildir_safe.smtp import replies, trace
from maildir_safe.smtp.address import (
    check_recipient_parameters,
    check_sender_parameters,
    parse_recipient,
    parse_sender,
)
from maildir_safe.smtp.data import read_data
from maildir_safe.smtp.replies import Refused
from maildir_safe.smtp.store import Delivery, Recipient, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, AnyStr

    from maildir_safe.smtp.door import Door
    from maildir_safe.smtp.limits import Hold

_MAX_COMMAND = 2048  # RFC 5321 asks for 512, SMTPUTF8, DSN and AUTH for more


class Transaction:
    """What MAIL and RCPT have said so far.

    Attributes:
        sender: None before MAIL.
        recipients: those that were accepted.
        utf8: whether SMTPUTF8 was asked for.
        envelope_id: ENVID (RFC 3461).
    """

    def __init__(self) -> None:
        self.sender: str | None = None
        self.recipients: list[Recipient] = []
        self.utf8 = False
        self.envelope_id: str | None = None


class SmtpSession(SMTP):
    """A connection. `door` holds what all connections share."""

    envelope: Transaction  # type: ignore[assignment]
    session: Any
    transport: Any
    lmtp = False
    # aiosmtpd makes its reader with this: bigger pieces, fewer turns of the event loop
    line_length_limit = 64 * 1024
    command_size_limit = _MAX_COMMAND
    command_size_limits = collections.defaultdict(lambda: _MAX_COMMAND)

    def __init__(self, door: Door, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            None,
            data_size_limit=door.max_size,
            enable_SMTPUTF8=True,
            hostname=door.hostname,
            ident=("LMTP" if self.lmtp else "ESMTP") + " maildir_safe",
            tls_context=door.tls,
            require_starttls=door.tls_required,
            timeout=door.timeout,
            auth_required=door.auth_required,
            auth_require_tls=False,
            loop=loop,
        )
        self._door = door
        self._admitted = False
        self._busy = False  # from DATA to its answer
        self._storing = False
        self._leaving = False

    # -- the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called again after STARTTLS, which is the same connection."""
        if self._original_transport is None:
            self._admitted = self._door.enter(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """May be called twice by aiosmtpd when a TLS handshake fails."""
        if self._admitted:
            self._admitted = False
            self._door.leave(self)
        super().connection_lost(error)

    def eof_received(self) -> bool:
        """Let what has arrived be worked off and answered: a client may close its sending side."""
        self._reader.feed_eof()
        return self.session.ssl is None

    def _create_envelope(self) -> Transaction:  # type: ignore[override]
        return Transaction()

    async def _handle_client(self) -> None:
        if not self._admitted:
            await self.push(replies.TOO_MANY_CONNECTIONS)
            self.transport.close()
            return
        try:
            await super()._handle_client()
        except ConnectionError:
            pass

    def say_goodbye(self) -> None:
        """The server shuts down: leave now, or after the message that is being received or stored."""
        self._leaving = True
        if not self._busy and self.transport is not None and not self.transport.is_closing():
            self._writer.write(replies.SHUTTING_DOWN.encode() + b"\r\n")
            self.transport.close()

    def _timeout_cb(self) -> None:
        """Say so if the client still listens, and hang up whether it does or not."""
        if self._storing:  # the client's patience ends this wait, not ours: it waits for our answer
            self._reset_timeout()
        elif self.transport is not None:
            if not self.transport.is_closing():
                self._writer.write(replies.TIMEOUT.encode() + b"\r\n")
            self.transport.abort()

    async def push(self, status: AnyStr | None) -> None:
        """Send a reply, with an enhanced code where it lacks one; nothing to a connection that is gone."""
        if status is None or self.transport is None or self.transport.is_closing():
            return
        if (
            isinstance(status, str) and self.session.host_name is not None
        ):  # the greeting bears no code (RFC 2034)
            await super().push(replies.with_enhanced_code(status))
        else:
            await super().push(status)

    async def handle_exception(self, error: Exception) -> str:
        """The end of input is a hang-up; anything else is our own fault, and temporary."""
        if isinstance(error, asyncio.IncompleteReadError):
            self.transport.close()
            await asyncio.Future()  # until connection_lost cancels this task
        if not isinstance(error, TLSSetupException):
            self._door.log.failure(self, error)
        return replies.INTERNAL

    # -- commands

    async def smtp_HELO(self, arg: str | None) -> None:
        """HELO: no extensions."""
        if await self._greeted(arg, "HELO"):
            self.session.extended_smtp = False
            await super().push(f"250 {self.hostname}")

    async def smtp_EHLO(self, arg: str | None) -> None:
        """EHLO: what this server can do, in one write."""
        if await self._greeted(arg, "EHLO"):
            self.session.extended_smtp = True
            await super().push(self._door.extensions(tls=self._tls_protocol is not None))

    async def _greeted(self, arg: str | None, verb: str) -> bool:
        if not arg or not arg.isprintable():
            await self.push(f"501 5.5.4 Syntax: {verb} hostname")
            return False
        self.envelope = self._create_envelope()
        self.session.host_name = trace.client_name(arg)
        return True

    async def smtp_MAIL(self, arg: str | None) -> None:
        """MAIL FROM:<sender>."""
        if await self.check_helo_needed() or await self.check_auth_needed("MAIL"):
            return
        try:
            await self._mail(arg)
        except Refused as refused:
            self._door.log.refused(self, f"MAIL {arg}", refused.reply)
            await self.push(refused.reply)
        else:
            await self.push("250 2.1.0 OK")

    async def _mail(self, arg: str | None) -> None:
        if self.envelope.sender is not None:
            raise Refused("503 5.5.1 Sender already given")
        path = parse_sender(arg)
        check_sender_parameters(path.parameters, self._door.max_size)
        self.envelope.sender = path.address
        self.envelope.utf8 = "SMTPUTF8" in path.parameters
        self.envelope.envelope_id = path.parameters.get("ENVID")

    async def smtp_RCPT(self, arg: str | None) -> None:
        """RCPT TO:<recipient>."""
        if await self.check_helo_needed() or await self.check_auth_needed("RCPT"):
            return
        try:
            await self._rcpt(arg)
        except Refused as refused:
            self._door.log.refused(self, f"RCPT {arg}", refused.reply)
            await self.push(refused.reply)
        else:
            await self.push("250 2.1.5 OK")

    async def _rcpt(self, arg: str | None) -> None:
        if self.envelope.sender is None:
            raise Refused("503 5.5.1 Give the sender first")
        path = parse_recipient(arg, self.envelope.utf8)
        original = check_recipient_parameters(path.parameters)
        if len(self.envelope.recipients) >= self._door.max_recipients:
            raise Refused(replies.TOO_MANY_RECIPIENTS)
        mailbox = await self._door.store.locate(path.address)
        self.envelope.recipients.append(Recipient(path.address, mailbox, original))

    async def smtp_DATA(self, arg: str | None) -> None:
        """DATA, the message, and the answer to it."""
        if await self.check_helo_needed() or await self.check_auth_needed("DATA"):
            return
        if arg:
            await self.push("501 5.5.4 Syntax: DATA")
            return
        if not self.envelope.recipients:
            await self.push("503 5.5.1 No valid recipients")
            return
        self._busy = True
        try:
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            results = await self._receive_and_store()
            self.envelope = self._create_envelope()
            await self._answer(results)
        finally:
            self._busy = False
            if self._leaving:
                self.say_goodbye()

    async def _receive_and_store(self) -> list[Result]:
        start = time.monotonic()
        held = self._door.hold()
        try:
            body = await read_data(self._reader, lambda size: self._arrived(held.add(size)))
        except BaseException:
            held.release()
            raise
        if body is None:
            held.release()
            results = [Result(held.refusal)] * len(self.envelope.recipients)
            self._door.log.message(
                self, self._delivery(b""), held.received, results, time.monotonic() - start
            )
            return results
        self._storing = True
        try:
            # A hang-up does not stop the delivery: it is finished, logged and its memory given back.
            return await asyncio.shield(self._door.spawn(self._store(self._delivery(body), held, start)))
        finally:
            self._storing = False

    def _arrived(self, keep: bool) -> bool:
        self._reset_timeout()  # a sender must bring 64 KiB, or end, within each timeout
        return keep

    async def _store(self, delivery: Delivery, held: Hold, start: float) -> list[Result]:
        try:
            results = await self._door.store.store(delivery)
        finally:
            held.release()
        self._door.log.message(self, delivery, len(delivery.body), results, time.monotonic() - start)
        return results

    async def _answer(self, results: list[Result]) -> None:
        """SMTP has one reply for all."""
        await self.push(replies.worst([result.reply for result in results]))

    def _delivery(self, body: bytes) -> Delivery:
        recipients, sender = self.envelope.recipients, self.envelope.sender
        assert sender is not None
        via = trace.protocol(
            self.lmtp,
            self.session.extended_smtp,
            self._tls_protocol is not None,
            bool(self.session.authenticated),
            self.envelope.utf8,
        )
        only = recipients[0].address if len(recipients) == 1 else None
        header = trace.received(self.session.host_name, self.peer, self.hostname, via, only, time.time())
        return Delivery(sender, recipients, header, body, self.envelope.envelope_id)

    @property
    def peer(self) -> str:
        """The client's IP address; ``""`` on a unix socket."""
        peer = self.session.peer
        return str(peer[0]) if isinstance(peer, tuple) else ""

    async def smtp_VRFY(self, arg: str | None) -> None:
        """VRFY: neither confirmed nor denied (RFC 5321 7.3)."""
        await self.push(
            "252 2.5.2 Send some mail, I will try my best" if arg else "501 5.5.4 Syntax: VRFY address"
        )
