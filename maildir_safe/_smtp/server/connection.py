"""One connection, apart from the mail: replies, time-outs, TLS, and every way in which it ends.

A connection is over (`gone`) as soon as its last reply was sent, the client was lost or the server
ended it. From then on it reads nothing, executes nothing that has arrived, and sends nothing. It
still counts against the limit of connections until its transport is closed. If the client keeps
the transport from closing, the transport is aborted.
"""

from __future__ import annotations

import asyncio
import collections
from typing import TYPE_CHECKING, cast

from maildir_safe._smtp.protocol import replies
from maildir_safe._smtp.protocol.proxy import NotAProxyHeader
from maildir_safe._smtp.protocol.replies import Refused
from maildir_safe._smtp.server.input import EndOfInput, InputBuffer
from maildir_safe._smtp.server.proxies import read_header
from maildir_safe._smtp.server.transaction import Transaction

if TYPE_CHECKING:
    from maildir_safe._smtp.server.server_context import ServerContext

BEFORE_MAIL = 60.0
"""Seconds that a client may be silent before its first MAIL: it takes a connection and has sent no mail."""

LINGER = 5.0
"""Seconds that a client has to read our last reply and close."""

_MAX_UNSENT = 2048  # bytes of replies that may wait to be sent with the next one


class Connection(asyncio.Protocol):
    """A connection that a client made to one of our listening sockets.

    Args:
        context: the state that all connections of the server share.

    Attributes:
        lmtp: whether the connection speaks LMTP.
        context: as given.
        input: the bytes that the client has sent and that were not read yet.
        peer: the client's IP address; ``""`` on a unix socket. Behind a proxy that names its clients,
            ``""`` until it has done so.
        client: the name that the client greeted with; ``""`` before the greeting.
        extended: whether the client greeted with EHLO or LHLO.
        authenticated: whether AUTH succeeded.
        wrong_passwords: number of wrong passwords on this connection.
        transaction: the mail transaction.
        gone: whether the connection is over.
        implicit_tls: whether TLS begins at once, before the greeting (RFC 8314).
        encrypted: whether TLS is on.
        busy: True from DATA until its reply is sent; a shutdown waits for it.
        storing: True while a message is stored. The client waits for us then, so no time-out runs, and the
            delivery continues even if the client leaves.
    """

    lmtp = False
    implicit_tls = False
    protocol = "ESMTP"

    def __init__(self, context: ServerContext) -> None:
        self.context = context
        self.input = InputBuffer(self._pause)
        self.peer = ""
        self.client = ""
        self.extended = False
        self.authenticated = False
        self.transaction = Transaction()
        self.wrong_passwords = 0
        self.gone = False
        self.encrypted = False
        self.busy = False
        self.storing = False
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._proxy = ""
        self._admitted = False
        self._leaving = False
        self._handshaking = False
        self._mail_came = False
        self._unsent = b""
        self._writable = asyncio.Event()
        self._writable.set()
        self._stages: collections.Counter[str] = collections.Counter()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected. Not called again after STARTTLS."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if isinstance(peer, tuple) else ""
        if self.peer in self.context.proxies:
            self._proxy, self.peer = self.peer, ""  # the limit per address is the client's
        self._admitted = self.context.admit(self)
        if self.implicit_tls:
            self._transport.pause_reading()  # the handshake must get the first byte
        self.restart_timer()
        self._task = self._loop.create_task(self._run())

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived. They are dropped if the connection is over."""
        if not self.gone:
            self.input.feed(data)

    def eof_received(self) -> bool:
        """The client has closed its sending side. What has arrived before is still executed and answered."""
        self.input.feed_eof()
        return not self.encrypted  # TLS cannot be half closed

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """The transport is closed."""
        self._lost()

    def pause_writing(self) -> None:
        """The client does not read our replies."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._writable.set()

    def _pause(self, pause: bool) -> None:
        if self._transport is not None and not self._transport.is_closing():
            if pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    # The dialogue

    async def _run(self) -> None:
        try:
            if not self._admitted:
                raise Refused(replies.TOO_MANY_CONNECTIONS)
            if self.context.draining:
                raise Refused(replies.SHUTTING_DOWN)
            if self.implicit_tls:
                await self.start_tls()
            if self._proxy:
                await self._meet_client()
            if trouble := self.context.storage.trouble():
                self.context.log.refused(self, f"connect ({trouble})", replies.NO_STORAGE)
                raise Refused(replies.NO_STORAGE)
            await self.fault("connect")
            await self.reply(f"220 {self.context.hostname} {self.protocol} maildir_safe")
            await self.talk()
        except Refused as refused:
            await self.reply(refused.reply)
        except (EndOfInput, ConnectionError):
            pass
        except Exception as error:  # noqa: BLE001 - a bug of ours must not keep the connection's place
            self.context.log.failure(self, error)
            self.hang_up(replies.INTERNAL)
        finally:
            self._close()

    async def _meet_client(self) -> None:
        """Read who the proxy's client is, and count the connection as that client's."""
        try:
            client = await read_header(self.input)
        except NotAProxyHeader as error:
            self._change_peer(self._proxy)
            self.context.log.refused(self, f"connect ({error})", replies.NO_PROXY_HEADER)
            raise Refused(replies.NO_PROXY_HEADER) from error
        if not self._change_peer(client or self._proxy):
            raise Refused(replies.TOO_MANY_CONNECTIONS)

    def _change_peer(self, peer: str) -> bool:
        if self._admitted:
            self.context.release(self)
        self.peer = peer
        self._admitted = self.context.admit(self)
        return self._admitted

    async def talk(self) -> None:
        """Read and execute commands until the connection is over."""
        raise NotImplementedError

    async def fault(self, stage: str, *addresses: str, key: tuple[str, ...] = ()) -> None:
        """Play the scripted fault for this stage, if there is one: wait, hang up, or raise `Refused`."""
        script, chaos = self.context.faults, self.context.chaos.faults if self.context.chaos else None
        if script is None and chaos is None:
            return
        self._stages[stage] += 1
        fault = script.at(stage, self._stages[stage], addresses, key) if script else None
        if fault is None and chaos:
            fault = chaos.at(stage)
        if fault is None:
            return
        await asyncio.sleep(fault.delay)
        if fault.drop:
            if stage != "stored":  # there, the message's own log line records the drop
                self.context.log.refused(self, " ".join([stage, *addresses]), replies.DROPPED)
            self._abort()
            raise ConnectionResetError
        if fault.reply:
            raise Refused(fault.reply)

    async def reply(self, text: str, hold: bool = False) -> None:
        """Send a reply. 221 and 421 also end the connection (RFC 5321 3.8). Does nothing once `gone`.

        Args:
            text: the reply without its last CRLF.
            hold: the reply may be sent together with the next one, if the next command has
                arrived already. Only RSET, MAIL and RCPT allow this (RFC 2920 3.2).
        """
        if text.startswith(("421", "221")):
            self.hang_up(text)
        if self.gone:
            return
        self._unsent += text.encode() + b"\r\n"
        if hold and b"\n" in self.input.data and len(self._unsent) < _MAX_UNSENT:
            return
        self._flush()
        if not self._writable.is_set():
            await self._writable.wait()
        if self.input.data:
            await asyncio.sleep(0)  # a client that pipelines thousands of commands must not starve the others

    def _flush(self) -> None:
        if self._transport is not None and self._unsent:
            self._transport.write(self._unsent)
            self._unsent = b""

    async def start_tls(self, ready: str = "") -> None:
        """Send `ready`, if any, then do the TLS handshake. Clear text after STARTTLS is dropped (RFC 3207 5).

        Raises:
            ConnectionResetError: the handshake failed, and the connection is lost.
        """
        transport, tls = self._transport, self.context.tls
        assert transport is not None
        assert tls is not None
        self.restart_timer()
        self._handshaking = True
        try:
            if ready:
                self._unsent += ready.encode() + b"\r\n"
                self._flush()
            self.input.clear()
            encrypted = await self._loop.start_tls(
                transport,
                self,
                tls,
                server_side=True,
                ssl_handshake_timeout=self.context.timeout,
                ssl_shutdown_timeout=LINGER,
            )
        except (OSError, EOFError) as error:  # TimeoutError and SSLError too
            self._abort()  # free the place at once
            raise ConnectionResetError from error
        finally:
            self._handshaking = False
            if not self.encrypted:
                self._transport = transport
        if encrypted is None or self.gone:  # None: the transport was aborted during the handshake
            raise ConnectionResetError
        self._transport = encrypted
        self.encrypted = True
        self.client, self.extended, self.authenticated = "", False, False
        self.new_transaction()

    def new_transaction(self) -> None:
        """The transaction is over, or given up; the next begins with MAIL."""
        self.transaction.close()
        self.transaction = Transaction()

    # The end

    def shut_down(self) -> None:
        """The server shuts down: hang up now, or after the message that is being received or stored."""
        self._leaving = True
        if not self.busy:
            self.hang_up(replies.SHUTTING_DOWN)

    def finish(self) -> None:
        """A message was answered: hang up if the server is shutting down."""
        self.busy = False
        if self._leaving:
            self.shut_down()

    def hang_up(self, final_reply: str) -> None:
        """Send `final_reply` (not before or in a handshake) and close; execute nothing that has arrived."""
        if self.gone:
            return
        if self._handshaking or (self.implicit_tls and not self.encrypted):
            self._abort()
            return
        self._unsent += final_reply.encode() + b"\r\n"
        self._flush()
        self._close()

    def _close(self) -> None:
        """Close once our replies are sent. A client that does not read them in time is cut off."""
        if self._transport is None or self.gone:
            return
        self.gone = True
        self._flush()
        self.input.clear()
        self.input.feed_eof()
        self._transport.close()
        self._set_timer(self._loop.time() + LINGER)

    def _abort(self) -> None:
        transport = self._transport
        self.gone = True
        self.input.clear()
        self.input.feed_eof()
        if transport is not None:
            transport.abort()
        self._loop.call_soon(self._lost)  # asyncio does not call connection_lost during a handshake

    def _lost(self) -> None:
        """The transport is closed: release the connection. May be called more than once."""
        self.gone = True
        self._transport = None
        self._writable.set()
        self._unsent = b""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._admitted:
            self._admitted = False
            self.context.release(self)
        if self._task is not None and not self.storing:  # a delivery is finished and logged all the same
            self._task.cancel()
            self._task = None
        self.transaction.close()

    # Time

    def mail_came(self) -> None:
        """A MAIL command was accepted: this client brings mail, so the full time-out applies from now on."""
        self._mail_came = True
        self.restart_timer()

    def restart_timer(self) -> None:
        """The client has made progress: move its deadline. Called at each command.

        The timer keeps running to its old time, and is set to the new deadline when it fires.
        """
        patience = self.context.timeout
        if not self._mail_came:
            patience = min(patience, BEFORE_MAIL)
        self._deadline = self._loop.time() + patience
        if self._timer is None or self._deadline < self._timer.when():
            self._set_timer(self._deadline)

    def _set_timer(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        if self.gone:
            self._abort()
            return
        if self.storing:
            self.restart_timer()
        elif self._loop.time() < self._deadline:
            self._set_timer(self._deadline)
        else:
            self.hang_up(replies.TIMEOUT)
            self._abort()  # a client that sends nothing may not read either
