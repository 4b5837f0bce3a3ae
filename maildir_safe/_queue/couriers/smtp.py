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

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from maildir_safe._queue.couriers.courier import DeliveryRequest

_PIECE = 1 << 16
_GO = 354
_PORTS = {"smtp": 25, "smtps": 465, "lmtp": 24}

TIMEOUT = 300.0
"""Seconds that a server may be silent (RFC 5321 section 4.5.3.2 has 5 minutes and more)."""


class SmtpCourier:
    """Relays by SMTP or LMTP to one server, over one connection per message.

    A recipient counts as delivered only if the server says so after ``354`` and the whole message: with one
    reply in SMTP, and with one reply per recipient in LMTP. Everything else is retried.

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
        except (smtplib.SMTPException, OSError) as error:
            # 451 also for 5xx replies before MAIL: a wrong password must not bounce mail
            what = f"{self._where}: {one_line(str(error))}"
            return same_status(
                request, RecipientStatus(451, "4.4.2 the next server cannot be reached now", what)
            )

    def _send(self, server: smtplib.SMTP, request: DeliveryRequest) -> dict[str, RecipientStatus]:
        """Send MAIL, one RCPT per recipient, and DATA for the accepted recipients."""
        utf8 = not (request.sender + "".join(request.recipients)).isascii()
        if utf8 and not server.has_extn("smtputf8"):
            return same_status(
                request, RecipientStatus(553, "5.6.7 the next server does not accept non-ASCII addresses")
            )
        server.command_encoding = "utf-8" if utf8 else "ascii"
        options = " BODY=8BITMIME" * server.has_extn("8bitmime") + " SMTPUTF8" * utf8
        status = status_of(server.docmd("MAIL", f"FROM:<{request.sender}>{options}"))
        if not status.done:
            return same_status(request, status)
        statuses = {
            recipient: status_of(server.docmd("RCPT", f"TO:<{recipient}>"))
            for recipient in request.recipients
        }
        accepted = [recipient for recipient, status in statuses.items() if status.done]
        return {**statuses, **self._data(server, request, accepted)} if accepted else statuses

    def _data(
        self, server: smtplib.SMTP, request: DeliveryRequest, accepted: list[str]
    ) -> dict[str, RecipientStatus]:
        reply = server.docmd("DATA")
        if reply[0] != _GO:
            status = status_of(reply)
            if status.done:
                raise ProtocolDesync(f"{status.code} is not a reply to DATA")
            return dict.fromkeys(accepted, status)
        with request.open() as file:
            for piece in dotted(file):
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
        server = self._connect()
        try:
            _good(server.ehlo(self._helo))
            if (
                not self._tls_first
                and not self._socket
                and (self._require_tls or server.has_extn("starttls"))
            ):
                server.starttls(context=self._context)
                _good(server.ehlo(self._helo))
            if self._login:
                server.login(*self._login)
            yield server
            if not self.lmtp:
                with contextlib.suppress(smtplib.SMTPException, OSError):
                    server.quit()
        finally:
            server.close()

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

    A lone CR also ends a line here: some servers treat it so, and must not find a single dot after it.
    """
    held, starts_line = b"", True
    while piece := file.read(_PIECE):  # not by lines: one may be as long as the message
        piece = held + piece
        held = b"\r" * piece.endswith(b"\r")  # its LF may follow
        piece = piece.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if piece:
            dot = b"." * (starts_line and piece.startswith(b"."))
            starts_line = piece.endswith(b"\n")
            yield dot + piece.replace(b"\n.", b"\n..").replace(b"\n", b"\r\n")
    if held or not starts_line:
        yield b"\r\n"


def _context(verified: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _good(reply: tuple[int, bytes]) -> None:
    if reply[0] != 250:
        raise smtplib.SMTPHeloError(*reply)


def _no_url(url: str) -> ValueError:
    scheme, _, rest = url.partition("://")
    shown = f"{scheme}://…@{rest.rpartition('@')[2]}" if "@" in rest else url
    return ValueError(f"smtp://host:port, smtps://…, lmtp://… or lmtp:/socket, not {shown!r}")
