"""The commands of SMTP that carry mail.

In place of aiosmtpd's own, and why: MAIL and RCPT (its address parser lets control characters pass
and knows no DSN parameters), DATA (it reads line by line and refuses long lines), EHLO (it writes
each line by itself), AUTH (it checks passwords inside the event loop).
"""

from __future__ import annotations

import asyncio
import time

from aiosmtpd.smtp import syntax

from maildir_safe._smtp.backends.maildir_store import MailObject, Recipient, RecipientStatus
from maildir_safe._smtp.protocol import auth, replies, trace
from maildir_safe._smtp.protocol.address import (
    check_recipient_parameters,
    check_sender_parameters,
    parse_recipient,
    parse_sender,
)
from maildir_safe._smtp.protocol.data import read_data
from maildir_safe._smtp.protocol.replies import Refused
from maildir_safe._smtp.server.connection import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._smtp.server.limits import MemoryReservation


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

    @property
    def addresses(self) -> list[str]:
        """Of the recipients."""
        return [recipient.address for recipient in self.recipients]


class SmtpSession(Connection):
    """A connection that speaks SMTP."""

    envelope: Transaction  # type: ignore[assignment]
    _failures = 0

    def _create_envelope(self) -> Transaction:  # type: ignore[override]
        return Transaction()

    async def smtp_HELO(self, arg: str | None) -> None:
        """HELO: no extensions."""
        if await self._greeted(arg, "HELO"):
            self.session.extended_smtp = False
            await self.push(f"250 {self.hostname}".encode())

    async def smtp_EHLO(self, arg: str | None) -> None:
        """EHLO: what this server can do, in one write."""
        if await self._greeted(arg, "EHLO"):
            self.session.extended_smtp = True
            await self.push(self._listener.extensions(self.encrypted).encode())

    async def _greeted(self, arg: str | None, verb: str) -> bool:
        if not arg or not arg.isprintable():
            await self.push(f"501 5.5.4 Syntax: {verb} hostname")
            return False
        self.envelope = self._create_envelope()
        self.session.host_name = trace.client_name(arg)
        return True

    @syntax("AUTH mechanism")
    async def smtp_AUTH(self, arg: str | None) -> None:
        """AUTH PLAIN or LOGIN; any password does in test mode, where no file of them was given."""
        try:
            await self._auth(arg or "")
        except Refused as refused:
            await self._refuse("AUTH", refused)
        else:
            await self.push("235 2.7.0 Authentication successful")

    async def _auth(self, arg: str) -> None:
        if not self._listener.offers_auth(self.encrypted):
            raise Refused(
                "538 5.7.11 Encryption required" if self._listener.passwords else "502 5.5.1 No AUTH here"
            )
        if self.session.authenticated or self.envelope.sender is not None or self.session.host_name is None:
            raise Refused("503 5.5.1 AUTH comes once, after EHLO and before MAIL")
        mechanism, _, initial = arg.partition(" ")
        name, password = await auth.credentials(mechanism.upper(), initial.strip(), self._ask)
        passwords = self._listener.passwords
        if passwords is not None and not await asyncio.to_thread(passwords.check, name, password):
            self._failures += 1
            enough = self._failures >= auth.MAX_FAILURES
            raise Refused(
                "421 4.7.0 Too many wrong passwords"
                if enough
                else "535 5.7.8 Authentication credentials invalid"
            )
        self.session.authenticated = True

    async def _ask(self, challenge: bytes) -> bytes:
        await self.push(b"334 " + challenge)
        try:
            line: bytes = await self._reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            raise Refused("421 4.7.0 Line too long") from None
        return line.strip()

    async def smtp_MAIL(self, arg: str | None) -> None:
        """MAIL FROM:<sender>."""
        if await self.check_helo_needed() or await self._auth_is_missing():
            return
        try:
            await self._mail(arg)
        except Refused as refused:
            await self._refuse(f"MAIL {arg}", refused)
        else:
            await self.push("250 2.1.0 OK")

    async def _mail(self, arg: str | None) -> None:
        if self.envelope.sender is not None:
            raise Refused("503 5.5.1 Sender already given")
        path = parse_sender(arg)
        check_sender_parameters(path.parameters, self._listener.max_size)
        await self._fault("mail", path.address)
        self.envelope.sender = path.address
        self.envelope.utf8 = "SMTPUTF8" in path.parameters
        self.envelope.envelope_id = path.parameters.get("ENVID")

    async def smtp_RCPT(self, arg: str | None) -> None:
        """RCPT TO:<recipient>."""
        if await self.check_helo_needed() or await self._auth_is_missing():
            return
        try:
            await self._rcpt(arg)
        except Refused as refused:
            await self._refuse(f"RCPT {arg}", refused)
        else:
            await self.push("250 2.1.5 OK")

    async def _rcpt(self, arg: str | None) -> None:
        if self.envelope.sender is None:
            raise Refused("503 5.5.1 Give the sender first")
        path = parse_recipient(arg, self.envelope.utf8)
        original = check_recipient_parameters(path.parameters)
        if len(self.envelope.recipients) >= self._listener.max_recipients:
            raise Refused(replies.TOO_MANY_RECIPIENTS)
        mailbox = await self._listener.store.locate(path.address)
        await self._fault("rcpt", path.address, key=(self.peer, self.envelope.sender, path.address))
        self.envelope.recipients.append(Recipient(path.address, mailbox, original))

    async def _auth_is_missing(self) -> bool:
        if self._listener.passwords is None or self.session.authenticated:
            return False
        await self.push("530 5.7.0 Authentication required")
        return True

    async def _refuse(self, command: str, refused: Refused) -> None:
        self._listener.log.refused(self, command, refused.reply)
        await self.push(refused.reply)

    async def smtp_DATA(self, arg: str | None) -> None:
        """DATA, the message, and the answer to it."""
        if await self.check_helo_needed():
            return
        self._busy = True
        try:
            if arg:
                raise Refused("501 5.5.4 Syntax: DATA")
            if not self.envelope.recipients:
                raise Refused("503 5.5.1 No valid recipients")
            await self._fault("data", *self.envelope.addresses)
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            results = await self._receive()
            self.envelope = self._create_envelope()
            await self._answer(results)
        except Refused as refused:
            await self._refuse("DATA", refused)
        finally:
            self._busy = False
            if self._leaving:
                self.say_goodbye()

    async def _receive(self) -> list[RecipientStatus]:
        start = time.monotonic()
        held = self._listener.reservation()
        try:
            body = await read_data(self._reader, lambda size: self._arrived(held.add(size)))
        except BaseException:
            held.release()
            raise
        self._storing = True
        try:
            # A hang-up does not stop the delivery: it is finished, logged, and its memory given back.
            return await asyncio.shield(
                self._listener.spawn(self._store(self._delivery(body or b""), held, start))
            )
        finally:
            self._storing = False

    def _arrived(self, keep: bool) -> bool:
        self._reset_timeout()  # a sender must bring 64 KiB, or end, within each timeout
        return keep

    async def _store(self, mail: MailObject, held: MemoryReservation, start: float) -> list[RecipientStatus]:
        addresses = [recipient.address for recipient in mail.recipients]
        try:
            if held.refusal:
                raise Refused(held.refusal)
            await self._fault("received", *addresses)
            results = await self._listener.store.store(mail)
        except Refused as refused:
            results = [RecipientStatus(refused.reply)] * len(addresses)
        finally:
            held.release()
        seconds = time.monotonic() - start
        self._listener.log.message(self, mail, held.received, results, seconds)
        self._listener.counters.message(_outcome(results), seconds)
        try:
            await self._fault("stored", *addresses)
        except Refused as refused:
            return [RecipientStatus(refused.reply)] * len(addresses)
        return results

    async def _answer(self, results: list[RecipientStatus]) -> None:
        """SMTP has one reply for all."""
        await self.push(replies.worst([result.reply for result in results]))

    def _delivery(self, body: bytes) -> MailObject:
        recipients, sender = self.envelope.recipients, self.envelope.sender
        assert sender is not None
        via = trace.protocol(
            self.lmtp,
            self.session.extended_smtp,
            self.encrypted,
            bool(self.session.authenticated),
            self.envelope.utf8,
        )
        only = recipients[0].address if len(recipients) == 1 else None
        header = trace.received(self.session.host_name, self.peer, self.hostname, via, only, time.time())
        return MailObject(sender, recipients, header, body, self.envelope.envelope_id)

    async def smtp_VRFY(self, arg: str | None) -> None:
        """VRFY: neither confirmed nor denied (RFC 5321 7.3)."""
        await self.push(
            "252 2.5.2 Send some mail, I will try my best" if arg else "501 5.5.4 Syntax: VRFY address"
        )

    async def smtp_HELP(self, arg: str | None) -> None:  # noqa: ARG002
        """HELP: nothing to learn."""
        await self.push("214 2.0.0 https://www.rfc-editor.org/rfc/rfc5321")


def _outcome(results: list[RecipientStatus]) -> str:
    """One of `tally.RESULTS`."""
    if all(result.stored for result in results):
        return "stored"
    return "refused" if replies.worst([result.reply for result in results])[0] == "5" else "deferred"
