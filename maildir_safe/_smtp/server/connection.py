"""One connection, without the mail: limits, time-outs, replies, hang-ups and shutting down.

aiosmtpd reads commands, keeps their order and does STARTTLS; what it gets wrong for us is replaced
here: a client that has closed its sending side and waits for the answer would be dropped, replies
carry no enhanced codes, an error would show its text to the client.
"""

from __future__ import annotations

import asyncio
import collections

from aiosmtpd.smtp import SMTP, TLSSetupException

from maildir_safe._smtp.protocol import replies
from maildir_safe._smtp.protocol.replies import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, AnyStr

    from maildir_safe._smtp.server.listener import Listener

_MAX_COMMAND = 2048  # bytes; RFC 5321 asks for 512, and for more with SMTPUTF8, DSN and AUTH

_MAX_UNSENT = 2048  # bytes of replies that may wait for the next
_ANSWER_AT_ONCE = (b"220", b"221", b"334", b"354", b"421")  # the client waits, or we leave


class Connection(SMTP):
    """A connection that was made to one of our listeners.

    Args:
        door: what all connections share.
        loop: the running event loop.

    Attributes:
        lmtp: whether it speaks LMTP.
    """

    session: Any
    transport: Any
    _reader: Any
    lmtp = False
    # aiosmtpd makes its reader with this: bigger pieces, fewer turns of the event loop
    line_length_limit = 64 * 1024
    command_size_limit = _MAX_COMMAND
    command_size_limits = collections.defaultdict(lambda: _MAX_COMMAND)

    def __init__(self, listener: Listener, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            None,
            data_size_limit=listener.max_size,
            enable_SMTPUTF8=True,
            hostname=listener.hostname,
            ident=("LMTP" if self.lmtp else "ESMTP") + " maildir_safe",
            tls_context=listener.tls,
            timeout=listener.timeout,
            loop=loop,
        )
        self._listener = listener
        self._admitted = False
        self._leaving = False
        self._busy = False  # from DATA to its answer
        self._storing = False
        self._unsent = b""
        self._deadline = 0.0
        self._stages: collections.Counter[str] = collections.Counter()

    @property
    def peer(self) -> str:
        """The client's IP address; ``""`` on a unix socket."""
        peer = self.session.peer
        return str(peer[0]) if isinstance(peer, tuple) else ""

    @property
    def encrypted(self) -> bool:
        """Whether STARTTLS was done."""
        return self._tls_protocol is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called again after STARTTLS, which is the same connection."""
        if self._original_transport is None:
            self._admitted = self._listener.enter(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """May be called twice by aiosmtpd when a TLS handshake fails."""
        if self._admitted:
            self._admitted = False
            self._listener.leave(self)
        super().connection_lost(error)

    def eof_received(self) -> bool:
        """Let what has arrived be worked off and answered: a client may close its sending side."""
        self._reader.feed_eof()
        return self.session.ssl is None

    async def _handle_client(self) -> None:
        try:
            if not self._admitted:
                raise Refused(replies.TOO_MANY_CONNECTIONS)
            await self._fault("connect")
            await super()._handle_client()
        except Refused as refused:
            await self.push(refused.reply)
            self.transport.close()
        except ConnectionError:
            pass

    async def _fault(self, stage: str, *addresses: str, key: tuple[str, ...] = ()) -> None:
        """What the script has for this moment: a wait, a hang-up, or `Refused`."""
        if self._listener.faults is None:
            return
        self._stages[stage] += 1
        fault = self._listener.faults.at(stage, self._stages[stage], addresses, key)
        if fault is None:
            return
        await asyncio.sleep(fault.delay)
        if fault.drop:
            if self.transport is not None:
                self.transport.abort()
            raise ConnectionResetError
        if fault.reply:
            raise Refused(fault.reply)

    def say_goodbye(self) -> None:
        """The server shuts down: leave now, or after the message that is being received or stored."""
        self._leaving = True
        if not self._busy:
            self._hang_up(replies.SHUTTING_DOWN)

    def _hang_up(self, last_words: str) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self._unsent += last_words.encode() + b"\r\n"
            self._flush()
            self.transport.close()

    def _timeout_cb(self) -> None:
        if self._storing:  # the client's patience ends this wait, not ours: it waits for our answer
            self._reset_timeout()
        if self.loop.time() < self._deadline:
            self._timeout_handle = self.loop.call_at(self._deadline, self._timeout_cb)
        elif self.transport is not None:
            self._hang_up(replies.TIMEOUT)
            self.transport.abort()  # it may not read either

    def _reset_timeout(self, duration: float | None = None) -> None:  # noqa: ARG002 - for PROXY, unused
        """Called at each command: moves the end, and leaves the timer alone until it is reached."""
        self._deadline = self.loop.time() + self._timeout_duration
        if self._timeout_handle is None:
            self._timeout_handle = self.loop.call_at(self._deadline, self._timeout_cb)

    async def push(self, status: AnyStr | None) -> None:
        """Send a reply, with an enhanced code where it lacks one; 421 is also the end (RFC 5321 3.8).

        Nothing is sent to a connection that is gone.
        """
        if status is None or self.transport is None or self.transport.is_closing():
            return
        line = status if isinstance(status, bytes) else self._encoded(status)
        self._unsent += line + b"\r\n"
        more = b"\n" in self._reader._buffer
        if more and len(self._unsent) < _MAX_UNSENT and line[:3] not in _ANSWER_AT_ONCE:
            return  # the next command is here already: answer them together (RFC 2920 3.2)
        self._flush()
        if line[:3] == b"421":
            self.transport.close()
        await self._writer.drain()
        if more:
            await asyncio.sleep(0)  # whoever sends thousands of commands at once lets others have their turn

    def _encoded(self, reply: str) -> bytes:
        if self.session.host_name is not None:  # the greeting bears no code
            reply = replies.with_enhanced_code(reply)
        return reply.encode()

    def _flush(self) -> None:
        self._writer.write(self._unsent)
        self._unsent = b""

    async def handle_exception(self, error: Exception) -> str:
        """The end of input is a hang-up; anything else is our own fault, and temporary."""
        if isinstance(error, asyncio.IncompleteReadError):
            self.transport.close()
            await asyncio.Future()  # until connection_lost cancels this task
        if not isinstance(error, TLSSetupException):
            self._listener.log.failure(self, error)
        return replies.INTERNAL
