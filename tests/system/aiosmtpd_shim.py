"""A pytest plugin: aiosmtpd's own tests talk to our server in place of theirs.

``pytest -p aiosmtpd_shim --pyargs aiosmtpd.tests.test_smtp``, in an environment that has aiosmtpd and pytest.
Its files stay as they are. `aiosmtpd.controller.Controller` is replaced by one that starts our sessions with
what its arguments ask for, on a port of its own. A reply is compared by its code, since each server has its
own texts; the texts that a test reads itself are not.
"""

from __future__ import annotations

import asyncio
import inspect
import shutil
import socket
import tempfile
import threading
from typing import Any

import pytest
from aiosmtpd import controller as theirs
from aiosmtpd.smtp import Envelope
from aiosmtpd.testing.statuscodes import StatusCode

from maildir_safe import Maildir
from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._mailboxes import Mailboxes
from maildir_safe._smtp.backends.maildir_store import MaildirStore
from maildir_safe._smtp.backends.routing import CatchAll
from maildir_safe._smtp.backends.store import MailObject
from maildir_safe._smtp.server.limits import MemoryBudget
from maildir_safe._smtp.server.message_log import MessageLog
from maildir_safe._smtp.server.server import Server
from maildir_safe._smtp.server.server_context import ServerContext

MIB = 1024 * 1024
ONLY_THEIRS = {"authenticator", "command_call_limit", "require_starttls", "ssl_context"}
MEANINGLESS = {"auth_exclude_mechanism", "auth_require_tls", "enable_SMTPUTF8", "hostname", "port"}


RUNNING: set[int] = set()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """A test that asks no server, but looks at aiosmtpd's own objects, says nothing about ours."""
    if not RUNNING:
        pytest.skip("asks no server of ours")


class NotOffered(Exception):
    """An argument asks for something that our server does not have."""


class Passwords:
    """A test's own check of passwords, in place of a file's."""

    def __init__(self, callback: Any) -> None:
        self._callback = callback

    def check(self, name: str, password: str) -> bool:
        return bool(self._callback("PLAIN", name.encode(), password.encode()))


class Store(MaildirStore):
    """Stores in a Maildir, and shows a test's handler what came to be there."""

    def __init__(self, path: str, handler: Any, decode: bool) -> None:
        routing = CatchAll(path)
        super().__init__(routing, Mailboxes(routing.candidates))
        self._maildir = Maildir(path)
        self._handler, self._decode = handler, decode
        self._seen: set[str] = set()

    async def store(self, mail: MailObject) -> list[RecipientStatus]:
        results = await super().store(mail)
        for message in self._maildir.messages():
            if message.key not in self._seen:
                self._seen.add(message.key)
                with self._maildir.open(message.key) as file:
                    await self._show(mail, file.read())
        return results

    async def _show(self, mail: MailObject, stored: bytes) -> None:
        envelope = Envelope()
        envelope.mail_from = mail.sender
        envelope.rcpt_tos = [recipient.address for recipient in mail.recipients]
        body = stored.partition(mail.received)[2]
        envelope.original_content = content = body.replace(b"\n", b"\r\n")
        envelope.content = content.decode() if self._decode else content
        if hasattr(self._handler, "handle_DATA"):
            await self._handler.handle_DATA(None, None, envelope)


class Controller:
    """Takes what aiosmtpd's Controller takes, and serves by our sessions."""

    def __init__(self, handler: Any, **wanted: Any) -> None:
        if lacking := ONLY_THEIRS & {name for name, value in wanted.items() if value}:
            raise NotOffered(", ".join(sorted(lacking)))
        self.handler = handler
        self._wanted = {name: wanted[name] for name in wanted.keys() - ONLY_THEIRS - MEANINGLESS}
        self.hostname, self.port = "127.0.0.1", 0
        self._path = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready, self._stop = threading.Event(), asyncio.Event()

    def start(self) -> None:
        assert self._loop is None
        self._path = tempfile.mkdtemp()
        listener = socket.create_server((self.hostname, 0))
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(listener)))
        self._thread.start()
        assert self._ready.wait(30)
        RUNNING.add(self.port)

    async def _serve(self, listener: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        lmtp = type(self).__name__ == "LMTPController"
        sockets: tuple[list[socket.socket], list[socket.socket]] = (
            ([], [listener]) if lmtp else ([listener], [])
        )
        async with Server(self._context(), *sockets, grace=5):
            self._ready.set()
            await self._stop.wait()

    def _context(self) -> ServerContext:
        wanted = dict(self._wanted)
        callback, tls = wanted.pop("auth_callback", None), wanted.pop("tls_context", None)
        # with a password file AUTH is required; a test that says neither gets the test mode: any password
        checked = wanted.pop("auth_required", None) or inspect.ismethod(callback)
        size = wanted.pop("data_size_limit", None) or 32 * MIB
        hostname = wanted.pop("server_hostname", None) or getattr(self, "custom_name", socket.getfqdn())
        decode = wanted.pop("decode_data", False)
        assert not wanted, wanted
        return ServerContext(
            Store(f"{self._path}/M", self.handler, decode),
            MessageLog(None),
            MemoryBudget(100, 256 * MIB, 1),
            hostname=hostname,
            max_size=size,
            max_recipients=100,
            timeout=getattr(self, "Delay", 300.0),
            tls=tls,
            passwords=Passwords(callback) if checked else None,  # type: ignore[arg-type]
        )

    def stop(self, no_assert: bool = False) -> None:
        assert no_assert or self._loop is not None
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._loop = None
            RUNNING.discard(self.port)
            shutil.rmtree(self._path)


def same_code(status: StatusCode, other: object) -> bool:
    return isinstance(other, tuple) and status[0] == other[0]


theirs.Controller = Controller
StatusCode.__eq__ = same_code
StatusCode.__ne__ = lambda status, other: not same_code(status, other)
StatusCode.__hash__ = tuple.__hash__
