"""The rules and the state that all connections of a server share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from maildir_safe._health.storage_check import StorageCheck
from maildir_safe._smtp.protocol.auth import MECHANISMS
from maildir_safe._smtp.protocol.extension import Offer
from maildir_safe._smtp.server.counters import Counters
from maildir_safe._smtp.server.limits import MemoryBudget, MemoryReservation
from maildir_safe._smtp.server.proxies import Proxies
from maildir_safe._smtp.server.throttle import Guesses, PasswordChecks

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from maildir_safe._smtp.backends.store import Store
    from maildir_safe._smtp.faults.chaos import Chaos
    from maildir_safe._smtp.faults.faults import Faults
    from maildir_safe._smtp.protocol.auth import Passwords
    from maildir_safe._smtp.server.message_log import MessageLog
    from maildir_safe._smtp.server.transcripts import Transcripts


class ConnectionHandle(Protocol):
    """A connection, as `ServerContext` sees it."""

    @property
    def peer(self) -> str:
        """The client's IP address; ``""`` on a unix socket."""

    def shut_down(self) -> None:
        """Hang up now, or after the message that is being received or stored."""


class ServerContext:
    """The rules of one server process, and the state that its connections share.

    Args:
        store: stores the messages.
        log: records each message.
        budget: the limits of all processes together.
        hostname: our name in greetings and Received headers.
        max_size: most bytes of one message.
        max_recipients: most recipients of one message.
        timeout: seconds that a client may be silent (RFC 5321 4.5.3.2: at least 300).
        tls: the TLS context for STARTTLS; None: STARTTLS is not offered.
        passwords: checks AUTH. Mail is refused before AUTH, and with `tls` AUTH is refused before
            STARTTLS. None: in test mode any password is accepted, otherwise AUTH is not offered.
        mechanisms: what AUTH offers.
        faults: scripted faults, or None.
        chaos: random refusals, which can be set while the server runs, or None.
        transcripts: remember what is said, or None.
        counters: counts the messages.
        storage: tells whether mail can be stored now. If not, new sessions are answered 421. By
            default it is not asked.
        proxies: peers whose connections begin with a header of the PROXY protocol; by default none.

    Attributes:
        draining: whether the server shuts down: new sessions are then answered 421.
        delivering: number of messages that are being stored.
        checks: checks passwords.
        guesses: wrong passwords by client address.
    """

    def __init__(
        self,
        store: Store,
        log: MessageLog,
        budget: MemoryBudget,
        *,
        hostname: str,
        max_size: int,
        max_recipients: int,
        timeout: float,
        tls: ssl.SSLContext | None = None,
        passwords: Passwords | None = None,
        mechanisms: Sequence[str] = MECHANISMS,
        faults: Faults | None = None,
        chaos: Chaos | None = None,
        transcripts: Transcripts | None = None,
        counters: Counters | None = None,
        storage: StorageCheck | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        self.store = store
        self.log = log
        self.hostname = hostname
        self.max_size = max_size
        self.max_recipients = max_recipients
        self.timeout = timeout
        self.tls = tls
        self.passwords = passwords
        self.mechanisms = mechanisms
        self.faults = faults
        self.chaos = chaos
        self.transcripts = transcripts
        self.counters = counters or Counters()
        self.storage = storage or StorageCheck({})
        self.draining = False
        self.delivering = 0
        self.proxies = proxies or Proxies()
        self.checks = PasswordChecks()
        self.guesses = Guesses()
        self._budget = budget
        self._connections: set[ConnectionHandle] = set()

    def admit(self, connection: ConnectionHandle) -> bool:
        """Admit a new connection. Returns False if there are too many, in total or of its address."""
        if not self._budget.connect(connection.peer):
            return False
        self._connections.add(connection)
        return True

    def release(self, connection: ConnectionHandle) -> None:
        """Release an admitted connection that is closed."""
        self._connections.discard(connection)
        self._budget.disconnect(connection.peer)

    def reservation(self) -> MemoryReservation:
        """A memory reservation for the message that is about to arrive."""
        return MemoryReservation(self._budget, self.max_size)

    def offers_auth(self, tls: bool) -> bool:
        """Whether a client may authenticate. With TLS configured, real passwords are taken over TLS only."""
        if self.passwords is None:
            return self.store.test_mode and bool(self.mechanisms)
        return tls or self.tls is None

    def offer(self, tls: bool) -> Offer:
        """The extensions that a client may use now.

        Args:
            tls: whether the connection is encrypted.
        """
        return Offer(
            self.max_size,
            starttls=self.tls is not None and not tls,
            auth=self.mechanisms if self.offers_auth(tls) else (),
            dsn=self.store.test_mode or self.store.sends_reports,
            binary=self.store.keeps_binary,
        )

    async def close(self, grace: float) -> bool:
        """Hang up on all clients, and from now on on new ones.

        Wait at most `grace` seconds for messages that are being received or stored.

        Returns:
            False if a message is still being stored or a look-up is still running. Then threads hang,
            and a normal exit of the process would wait for them.
        """
        self.draining = True
        self.storage.shut_down()
        open_before = set(self._connections)
        for connection in list(self._connections):
            connection.shut_down()
        end = asyncio.get_running_loop().time() + grace
        while (
            (open_before & self._connections) or self.delivering or self.store.busy
        ) and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.02)
        self.store.close()
        return not self.delivering and not self.store.busy
