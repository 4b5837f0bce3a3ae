"""The commands of SMTP (RFC 5321 4.1), and the order in which they are allowed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from maildir_safe._delivery.dsn import Dsn
from maildir_safe._smtp.backends.store import Recipient
from maildir_safe._smtp.protocol import replies, trace
from maildir_safe._smtp.protocol.address import decode_xtext, parse_recipient, parse_sender
from maildir_safe._smtp.protocol.extension import (
    check_parameters,
    original_recipient,
    request_for_recipient,
    requested_for_message,
)
from maildir_safe._smtp.protocol.replies import Refused
from maildir_safe._smtp.server.chunking import Chunks, parse_bdat, skip
from maildir_safe._smtp.server.connection import Connection
from maildir_safe._smtp.server.extensions import MAIL_PARAMETERS, RCPT_PARAMETERS, VERBS, greeting
from maildir_safe._smtp.server.input import EndOfInput, LineTooLong
from maildir_safe._smtp.server.receiving import receive, store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maildir_safe._delivery.status import RecipientStatus
    from maildir_safe._smtp.server.server_context import ServerContext

MAX_COMMAND = 2048
"""Longest command line in bytes. RFC 5321 requires 512, and extensions (SMTPUTF8, DSN, AUTH) add to that."""

MAX_UNKNOWN = 5
"""Unknown commands before we hang up."""

MAX_ERRORS = 20
"""Errors without mail before we hang up, in addition to one per recipient that a message may have."""

MAX_JUNK = 100
"""Commands without mail (NOOP, RSET, VRFY, ...) before we hang up."""

MAX_OVERSHOOT = 1000
"""Recipients beyond the limit, each answered 452 4.5.3, before they count as errors."""

# A web page can make a browser connect to any port, and chooses what follows the request line.
_HTTP = {"GET", "POST", "HEAD", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI"}
_BEFORE_AUTH = {"AUTH", "EHLO", "HELO", "LHLO", "NOOP", "RSET", "QUIT", "STARTTLS"}  # RFC 4954 4
_NEED_GREETING = {"MAIL", "RCPT", "DATA", "BDAT"}
_MAY_WAIT = {"MAIL", "RCPT", "RSET"}  # RFC 2920 3.2: their replies may wait for the next reply
_JUNK = {"NOOP", "RSET", "VRFY", "HELP", "EXPN", "HELO", "EHLO", "LHLO"}
_VERB = re.compile(r"[A-Za-z]+")


class SmtpSession(Connection):
    """A connection that speaks SMTP."""

    greeting_verb = "EHLO"

    def __init__(self, context: ServerContext) -> None:
        super().__init__(context)
        self._unknown = self._errors = self._junk = 0

    async def talk(self) -> None:
        """Read and execute commands until the connection is over."""
        while not self.gone:
            try:
                line = await self.input.line(MAX_COMMAND)
            except LineTooLong:  # a greeting of TLS that a web page chose, for one: obey nothing after it
                self.context.log.refused(self, "a command line", replies.LINE_TOO_LONG)
                self.hang_up(replies.LINE_TOO_LONG)
                return
            # surrogateescape: bytes that are not UTF-8 are refused later, as not printable
            command = line.decode("utf-8", "surrogateescape")
            if self.transcript:
                self.transcript.client(command)
            verb, _, argument = command.partition(" ")
            await self._obey(verb, argument.strip())

    async def _obey(self, word: str, argument: str) -> None:
        verb = word.upper()
        run = self.commands.get(verb)
        if run is None:
            await self._no_command(word, argument)
            return
        if verb != "BDAT":
            self.restart_timer()
        try:
            if verb != "BDAT":  # its bytes follow, so it checks after it has seen their number
                self._check_order(verb)
            await run(self, argument)
        except Refused as refused:
            await self._refuse(verb, argument, refused.reply)
        except (EndOfInput, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 - a bug of ours: a temporary error, without its text
            self.context.log.failure(self, error)
            await self._error(replies.INTERNAL)

    def _check_order(self, verb: str) -> None:
        if verb in _JUNK:
            self._junk += 1
            if self._junk > MAX_JUNK:
                raise Refused(replies.TOO_MUCH_JUNK)
        if verb in _NEED_GREETING and not self.client:
            raise Refused(f"503 5.5.1 Send {self.greeting_verb} first")
        if verb not in _BEFORE_AUTH and self.context.passwords is not None and not self.authenticated:
            raise Refused(replies.NEEDS_AUTH)

    async def _no_command(self, word: str, argument: str) -> None:
        """Hang up on HTTP, a PROXY header and bytes that are not text; answer any other with 500."""
        if word == "PROXY":  # what follows would be taken for commands of this peer, not of its client
            self.context.log.refused(self, f"PROXY {argument[:107]}", replies.PROXY_REFUSED)
            self.hang_up(replies.PROXY_REFUSED)
            return
        http = word.upper() in _HTTP or word.endswith(":") or " HTTP/" in argument
        if http or (word and not (word.isascii() and _VERB.match(word))):
            self.context.log.refused(self, f"{word[:40]} {argument[:40]}", replies.NOT_SMTP)
            self.hang_up(replies.NOT_SMTP)
        else:
            await self._unknown_command("500 5.5.2 Command not recognized")

    async def _unknown_command(self, reply: str) -> None:
        self._unknown += 1
        await self._error(replies.UNKNOWN_COMMANDS if self._unknown >= MAX_UNKNOWN else reply)

    async def _refuse(self, verb: str, argument: str, reply: str) -> None:
        shown = verb if verb in ("AUTH", "DATA", "BDAT") else f"{verb} {argument}"
        self.context.log.refused(self, shown, reply)
        await self._error(reply, hold=verb in _MAY_WAIT)

    async def _error(self, reply: str, hold: bool = False) -> None:
        """Send an error reply. Hang up on a client that produces nothing but errors."""
        if reply != replies.TOO_MANY_RECIPIENTS or self.transaction.overshoot > MAX_OVERSHOOT:
            self._errors += 1
        if self._errors > MAX_ERRORS + self.context.max_recipients:
            reply = replies.TOO_MANY_ERRORS
        await self.reply(reply, hold)

    async def helo(self, argument: str) -> None:
        """HELO: no extensions."""
        self._greeted(argument, "HELO")
        self.extended = False
        await self.reply(f"250 {self.context.hostname}")

    async def ehlo(self, argument: str) -> None:
        """EHLO: list the extensions, in one write."""
        self._greeted(argument, self.greeting_verb)
        self.extended = True
        await self.reply(greeting(self.context.hostname, self.context.offer(self.encrypted)))

    def _greeted(self, argument: str, verb: str) -> None:
        if not argument or not argument.isprintable():
            raise Refused(f"501 5.5.4 Syntax: {verb} hostname")
        self.new_transaction()
        self.client = trace.client_name(argument)

    async def mail(self, argument: str) -> None:
        """MAIL FROM:<sender>."""
        if self.transaction.sender is not None:
            raise Refused("503 5.5.1 Sender already given")
        path = parse_sender(argument)
        if path.parameters:
            check_parameters(MAIL_PARAMETERS, path.parameters, "MAIL", self.context.offer(self.encrypted))
        await self.fault("mail", path.address)
        self.transaction.sender = path.address
        self.transaction.utf8 = "SMTPUTF8" in path.parameters
        self.transaction.binary = path.parameters.get("BODY", "").upper() == "BINARYMIME"
        if "ENVID" in path.parameters:
            self.transaction.envelope_id = decode_xtext(path.parameters["ENVID"])
        if path.parameters:
            self.transaction.dsn = requested_for_message(path.parameters)
        self.mail_came()
        await self.reply("250 2.1.0 OK", hold=True)

    async def rcpt(self, argument: str) -> None:
        """RCPT TO:<recipient>."""
        transaction, context = self.transaction, self.context
        if transaction.sender is None:
            raise Refused("503 5.5.1 Give the sender first")
        if transaction.chunks is not None:
            raise Refused("503 5.5.1 BDAT has begun: the recipients are complete")
        path = parse_recipient(argument, transaction.utf8)
        if path.parameters:
            check_parameters(RCPT_PARAMETERS, path.parameters, "RCPT", context.offer(self.encrypted))
        if len(transaction.recipients) >= context.max_recipients:
            transaction.overshoot += 1
            raise Refused(replies.TOO_MANY_RECIPIENTS)
        try:
            mailbox = await context.store.locate(path.address)
            await self.fault("rcpt", path.address, key=(self.peer, transaction.sender, path.address))
        except Refused:
            if len(transaction.refused) < context.max_recipients:
                transaction.refused.append(path.address)
            raise
        original = original_recipient(path.parameters)
        if path.parameters:
            transaction.dsn = transaction.dsn or Dsn()
            request_for_recipient(transaction.dsn, path.address, path.parameters)
        transaction.recipients.append(Recipient(path.address, mailbox, original))
        await self.reply("250 2.1.5 OK", hold=True)

    async def data(self, argument: str) -> None:
        """DATA, the message, and the reply to it."""
        if argument:
            raise Refused("501 5.5.4 Syntax: DATA")
        if self.transaction.chunks is not None:
            raise Refused("503 5.5.1 BDAT has begun this message")
        if self.transaction.binary:
            raise Refused("503 5.5.1 A message with BODY=BINARYMIME comes by BDAT")
        if not self.transaction.recipients:
            raise Refused("503 5.5.1 No valid recipients")
        self.busy = True
        try:
            await self.fault("data", *self.transaction.addresses)
            await self.reply("354 End data with <CR><LF>.<CR><LF>")
            await self._conclude(await receive(self))
        except (Refused, EndOfInput, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 - a bug of ours; the end of the message is not known now
            self.context.log.failure(self, error)
            self.hang_up(replies.INTERNAL)
        finally:
            self.finish()

    async def bdat(self, argument: str) -> None:
        """BDAT, the chunk, and the reply to it, or to the message if the chunk is the last."""
        chunk = parse_bdat(argument)
        if chunk is None:
            self.context.log.refused(self, f"BDAT {argument[:40]}", replies.MALFORMED_BDAT)
            self.hang_up(replies.MALFORMED_BDAT)
            return
        size, last = chunk
        self.busy = True
        try:
            try:
                chunks = await self._begun()
            except Refused:
                await skip(self, size)
                raise
            await chunks.read(self, size)
            if last:
                await self._store_chunks(chunks)
            elif chunks.reservation.refusal:
                chunks.failed = True
                raise Refused(chunks.reservation.refusal)
            else:
                await self.reply(f"250 2.0.0 {size} octets received")
        except (Refused, EndOfInput, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 - a bug of ours; where the chunk ends is not known now
            self.context.log.failure(self, error)
            self.hang_up(replies.INTERNAL)
        finally:
            self.finish()

    async def _begun(self) -> Chunks:
        """The chunks of this message, begun if this is the first. Raises `Refused`."""
        self._check_order("BDAT")
        transaction = self.transaction
        if transaction.chunks is None:
            if not transaction.recipients:
                raise Refused("503 5.5.1 No valid recipients")
            self.restart_timer()
            transaction.chunks = Chunks(self.context.reservation(), transaction.binary)
            try:
                await self.fault("data", *transaction.addresses)
            except Refused:
                transaction.chunks.failed = True
                raise
        elif transaction.chunks.failed:
            raise Refused("503 5.5.1 A chunk was refused: send RSET")
        return transaction.chunks

    async def _store_chunks(self, chunks: Chunks) -> None:
        self.transaction.chunks = None  # a client that leaves now does not take the message with it
        await self._conclude(await store(self, chunks.take(), chunks.reservation, chunks.start))

    async def _conclude(self, results: list[RecipientStatus]) -> None:
        """The message was stored or refused: answer, and begin anew."""
        if any(result.stored for result in results):
            self._errors = self._junk = 0
        self.new_transaction()
        await self._answer(results)

    async def _answer(self, results: list[RecipientStatus]) -> None:
        """Send the one reply that SMTP has for all recipients."""
        await self.reply(replies.worst([result.reply for result in results]))

    async def rset(self, argument: str) -> None:
        """RSET: forget the transaction."""
        if argument:
            raise Refused("501 5.5.4 Syntax: RSET")
        self.new_transaction()
        await self.reply("250 2.0.0 OK", hold=True)

    async def noop(self, argument: str) -> None:  # noqa: ARG002 - RFC 5321 4.1.1.9: is ignored
        """NOOP."""
        await self.reply("250 2.0.0 OK")

    async def quit(self, argument: str) -> None:
        """QUIT."""
        if argument:
            raise Refused("501 5.5.4 Syntax: QUIT")
        self.hang_up("221 2.0.0 Bye")

    async def vrfy(self, argument: str) -> None:
        """VRFY: neither confirmed nor denied (RFC 5321 7.3)."""
        if not argument:
            raise Refused("501 5.5.4 Syntax: VRFY address")
        await self.reply("252 2.5.2 Send some mail, I will try my best")

    async def expn(self, argument: str) -> None:  # noqa: ARG002
        """EXPN: not implemented, since there are no mailing lists."""
        raise Refused("502 5.5.1 EXPN not implemented")

    async def help(self, argument: str) -> None:  # noqa: ARG002
        """HELP: refer to the RFC."""
        await self.reply("214 2.0.0 https://www.rfc-editor.org/rfc/rfc5321")

    commands: dict[str, Callable[[SmtpSession, str], Awaitable[None]]] = {
        "HELO": helo, "EHLO": ehlo, "MAIL": mail, "RCPT": rcpt, "DATA": data, "BDAT": bdat, "RSET": rset,
        "NOOP": noop, "QUIT": quit, "VRFY": vrfy, "EXPN": expn, "HELP": help, **VERBS,
    }  # fmt: skip


class SmtpsSession(SmtpSession):
    """A connection that speaks SMTP in TLS from its first byte (port 465)."""

    implicit_tls = True
