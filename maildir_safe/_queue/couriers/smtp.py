"""Couriers by SMTP and LMTP, with a status for each recipient.

The dialogue is written out here for two reasons. After the message `smtplib.LMTP` reads one reply where
RFC 2033 section 4.2 has one per recipient. `SMTP.sendmail` reports refusals only if at least one recipient
was accepted. Replies are read by `maildir_safe._queue.couriers.dialogue`.
"""

from __future__ import annotations

import contextlib
import os
import smtplib
import ssl
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from maildir_safe._delivery.dsn import Dsn
from maildir_safe._delivery.status import RecipientStatus, one_line
from maildir_safe._queue.couriers.courier import same_status
from maildir_safe._queue.couriers.dialogue import (
    Lmtp,
    ProtocolDesync,
    Smtp,
    SmtpTls,
    quit_checked,
    status_of,
    verify_synchronised,
)
from maildir_safe._queue.couriers.idle_connections import IdleConnections

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from maildir_safe._queue.couriers.courier import DeliveryRequest

_PIECE = 1 << 16
_GO = 354
_UNKNOWN_COMMAND = (500, 501, 502, 504)
_LONGEST_LINE = 998  # bytes without CRLF (RFC 5321 4.5.3.1.6)
_PORTS = {"smtp": 25, "smtps": 465, "lmtp": 24}

UNREACHABLE = "4.4.2 the next server cannot be reached now"
"""The text of the status where no connection came about, or it broke."""

TIMEOUT = 300.0
"""Seconds that a server may be silent (RFC 5321 section 4.5.3.2 has 5 minutes and more)."""


class NotReadable(Exception):
    """The message cannot be read now."""


class SmtpCourier:
    """Relays by SMTP or LMTP to one server. A connection serves several messages that follow each other.

    A recipient counts as delivered only if the server says so after ``354`` and the whole message: with one
    reply in SMTP, and with one reply per recipient in LMTP. Everything else is retried.

    Where neither a password nor TLS is required, a server whose STARTTLS fails is sent the message in the
    clear, and one that does not know EHLO is greeted with HELO. Lines of more than 998 bytes are folded. A
    message with 8-bit bytes is sent as it is, also to a server without 8BITMIME. The reports that the sender
    asks for are passed on to a server that offers DSN.

    Args:
        url: ``smtp://[user@]host[:port]`` (STARTTLS if the server offers it), ``smtps://…`` (TLS from the
            start), ``lmtp://host:port`` or ``lmtp:/path/of/socket``.
        password: of the user in the URL; the URL may contain it instead: ``smtp://user:password@host``.
        helo: our name; by default this host's.
        require_tls: do not send without TLS. A password is never sent without TLS.
        context: for TLS. By default the server's certificate is verified if there is a password or TLS is
            required. It is not verified if TLS is merely used where it is offered (RFC 7435).
        timeout: seconds that the server may be silent.

    Raises:
        ValueError: the URL has none of these forms. The error text does not contain the password.
    """

    relays = True

    def __init__(
        self,
        url: str,
        helo: str | None = None,
        require_tls: bool = False,
        context: ssl.SSLContext | None = None,
        timeout: float = TIMEOUT,
        password: str | None = None,
    ) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise _no_url(url) from None
        if parts.scheme not in _PORTS or not (parts.hostname or parts.path):
            raise _no_url(url)
        self.lmtp = parts.scheme == "lmtp"
        self._tls_first = parts.scheme == "smtps"
        self._socket = "" if parts.hostname else parts.path
        self._host = parts.hostname or ""
        self._port = port or _PORTS[parts.scheme]
        secret = unquote(parts.password or "") if password is None else password
        self._login = (unquote(parts.username), secret) if parts.username else None
        self._helo = helo or os.uname().nodename
        self._require_tls = require_tls or self._login is not None
        self._context = context or _context(self._require_tls)
        self._timeout = timeout
        self._idle = IdleConnections()

    def close(self) -> None:
        """End the connections that wait for another message. Optional: they end after two seconds."""
        self._idle.close()

    def __call__(self, request: DeliveryRequest) -> dict[str, RecipientStatus]:
        """See `maildir_safe._queue.couriers.courier.Courier`."""
        try:
            with self._connected() as server:
                statuses = self._send(server, request)
                if any(status.permanent for status in statuses.values()):
                    verify_synchronised(server)
                if self.lmtp:
                    quit_checked(server)
                return statuses
        except ProtocolDesync as error:
            # some recipients may have the message: sent twice is better than not at all
            what = f"the next server does not keep to the protocol: {error}"
            return same_status(request, RecipientStatus(451, f"4.5.0 {what}", self._where))
        except NotReadable as error:  # the destination is not to blame, and is not suspended for it
            what = one_line(str(error))
            return same_status(request, RecipientStatus(451, "4.3.0 the message cannot be read now", what))
        except (smtplib.SMTPException, OSError) as error:
            # 451 also for 5xx replies before MAIL: a wrong password must not bounce mail
            what = f"{self._where}: {one_line(str(error))}"
            return same_status(request, RecipientStatus(451, UNREACHABLE, what))

    def _send(self, server: smtplib.SMTP, request: DeliveryRequest) -> dict[str, RecipientStatus]:
        """Send MAIL, one RCPT per recipient, and DATA for the accepted recipients."""
        utf8 = not (request.sender + "".join(request.recipients)).isascii()
        if utf8 and not server.has_extn("smtputf8"):
            return same_status(
                request, RecipientStatus(553, "5.6.7 the next server does not accept non-ASCII addresses")
            )
        server.command_encoding = "utf-8" if utf8 else "ascii"
        dsn = request.dsn if request.dsn and server.has_extn("dsn") else Dsn()
        options = " BODY=8BITMIME" * server.has_extn("8bitmime") + " SMTPUTF8" * utf8 + dsn.message_words()
        status = status_of(server.docmd("MAIL", f"FROM:<{request.sender}>{options}"))
        if not status.done:
            return same_status(request, status)
        statuses = {
            recipient: status_of(server.docmd("RCPT", f"TO:<{recipient}>{dsn.recipient_words(recipient)}"))
            for recipient in request.recipients
        }
        accepted = [recipient for recipient, status in statuses.items() if status.done]
        if accepted:
            statuses |= self._data(server, request, accepted)
        return {who: status._replace(reported=bool(dsn)) for who, status in statuses.items()}

    def _data(
        self, server: smtplib.SMTP, request: DeliveryRequest, accepted: list[str]
    ) -> dict[str, RecipientStatus]:
        reply = server.docmd("DATA")
        if reply[0] != _GO:
            status = status_of(reply)
            if status.done:
                raise ProtocolDesync(f"{status.code} is not a reply to DATA")
            return dict.fromkeys(accepted, status)
        for piece in _pieces(request):
            server.send(piece)
        request.confirm()  # until the final dot is sent, the server has no message
        server.send(b".\r\n")
        if not self.lmtp:
            return dict.fromkeys(accepted, status_of(server.getreply()))
        statuses = dict.fromkeys(
            accepted, RecipientStatus(451, "4.4.2 the connection ended before a reply came")
        )
        with contextlib.suppress(smtplib.SMTPServerDisconnected):  # the replies before it still count
            for recipient in accepted:
                statuses[recipient] = status_of(server.getreply())
        return statuses

    @contextlib.contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        server = self._idle.take(self._where) or self._opened()
        try:
            yield server
        except BaseException:
            self._idle.drop(server)
            raise
        if self.lmtp or server.sock is None:
            self._idle.drop(server)
        else:
            self._idle.keep(self._where, server)

    def _opened(self) -> smtplib.SMTP:
        """A new connection: greeted, in TLS if the server offers that, and logged in."""
        server = self._greeted()
        try:
            in_clear = not self._tls_first and not self._socket
            if in_clear and (self._require_tls or server.has_extn("starttls")):
                server = self._secured(server)
            if self._login:
                server.login(*self._login)
        except BaseException:
            server.close()
            raise
        return server

    def _secured(self, server: smtplib.SMTP) -> smtplib.SMTP:
        """The connection in TLS; if that fails and TLS is not required, another one in the clear."""
        try:
            server.starttls(context=self._context)
            self._greet(server)
            return server
        except ProtocolDesync:
            raise
        except (smtplib.SMTPException, ssl.SSLError, ConnectionError):
            if self._require_tls:
                raise
        server.close()
        return self._greeted()

    def _greeted(self) -> smtplib.SMTP:
        server = self._connect()
        try:
            self._greet(server)
        except BaseException:
            server.close()
            raise
        return server

    def _greet(self, server: smtplib.SMTP) -> None:
        code, text = server.ehlo(self._helo)
        if code in _UNKNOWN_COMMAND and not self.lmtp and not self._require_tls:
            code, text = server.helo(self._helo)
        if code != 250:
            raise smtplib.SMTPHeloError(code, text)

    @property
    def _where(self) -> str:
        return f"{self._host}:{self._port}" if self._host else self._socket

    def _connect(self) -> smtplib.SMTP:
        if self.lmtp:
            return Lmtp(self._socket or self._host, self._port, self._helo, timeout=self._timeout)
        if self._tls_first:
            return SmtpTls(self._host, self._port, self._helo, timeout=self._timeout, context=self._context)
        return Smtp(self._host, self._port, self._helo, timeout=self._timeout)


def dotted(file: BinaryIO) -> Iterator[bytes]:
    """A message in wire format: CRLF line ends, leading dots doubled (RFC 5321 section 4.5.2).

    A lone CR also ends a line here: some servers treat it so, and must not find a single dot after it. Lines
    that are too long for SMTP are folded, as Postfix does: servers may refuse or cut them.
    """
    held = rest = b""
    while piece := file.read(_PIECE):  # not by lines: one may be as long as the message
        piece = held + piece
        held = b"\r" * piece.endswith(b"\r")  # its LF may follow
        piece = piece.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = (rest + piece).split(b"\n")
        out = b"".join(map(_wire_line, lines))
        if len(rest) > _LONGEST_LINE:
            begun, _, rest = _wire_line(rest)[:-2].rpartition(b"\r\n")
            out += begun + b"\r\n"
        yield out
    if held or rest:
        yield _wire_line(rest)


def _wire_line(line: bytes) -> bytes:
    return b"." * line.startswith(b".") + (line if len(line) <= _LONGEST_LINE else _folded(line)) + b"\r\n"


def _folded(line: bytes) -> bytes:
    step = _LONGEST_LINE - 1  # a space begins each further line
    rest = (line[at : at + step] for at in range(_LONGEST_LINE, len(line), step))
    return b"\r\n ".join((line[:_LONGEST_LINE], *rest))


def _context(verified: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_url(url: str) -> ValueError:
    scheme, _, rest = url.partition("://")
    shown = f"{scheme}://…@{rest.rpartition('@')[2]}" if "@" in rest else url
    return ValueError(f"smtp://host:port, smtps://…, lmtp://… or lmtp:/socket, not {shown!r}")


def _pieces(request: DeliveryRequest) -> Iterator[bytes]:
    """The message as DATA sends it. Raises NotReadable."""
    with request.open() as file:
        pieces = dotted(file)
        while True:
            try:
                piece = next(pieces, None)
            except OSError as error:
                raise NotReadable(str(error)) from error
            if piece is None:
                return
            yield piece
