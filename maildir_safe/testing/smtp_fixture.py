"""An SMTP server for tests of programs that send mail, with a free port and its own Maildir.

    from maildir_safe.testing.smtp_fixture import MaildirSmtp

    with MaildirSmtp("/tmp/some-directory") as smtp:
        send_welcome_mail("ada@example.com", host=smtp.host, port=smtp.port)
        message = smtp.wait(to="ada@example.com", timeout=5)
        assert "Welcome" in message["Subject"]

Needs ``pip install 'maildir-safe[server]'``. As a pytest fixture: `maildir_safe.testing.pytest_plugin`.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maildir_safe import Maildir
from maildir_safe._mail.charsets import guess
from maildir_safe._mail.words import clean
from maildir_safe._mailbox_tree import MailboxTree
from maildir_safe._names import arrival_time
from maildir_safe._smtp.faults.faults import Faults
from maildir_safe._smtp.protocol.auth import hash_password
from maildir_safe._smtp.server.background import BackgroundServer
from maildir_safe._smtp.server.message_log import MessageLog
from maildir_safe._smtp.server.settings import Settings
from maildir_safe.errors import MaildirSafeError
from maildir_safe.testing.received_message import ReceivedMessage, received_message
from maildir_safe.testing.sent import Wanted

if TYPE_CHECKING:
    from maildir_safe._smtp.server.page import Page

_LOOK_AGAIN = 0.02
_TRACE = re.compile(
    rb"Return-Path: <(.*)>\n(?:X-Original-To: .*\n)?(?:Delivered-To: .*\n)+Received: .*\n(?:[ \t].*\n)*"
)
_RECIPIENT = re.compile(rb"^Delivered-To: (.*)$", re.MULTILINE)


class MaildirSmtp:
    """The server; a context manager. Messages are stored durably in a Maildir before they are answered.

    Args:
        directory: an existing one; the Maildir is made in it, unless `maildir` says another.
        tls: offer STARTTLS, with a certificate made for this server; see `ca`.
        auth: passwords by name, one of which is then required. Without, any are taken.
        port: a fixed one, where a program cannot be told; 0 takes a free one.
        settings: more of `maildir_safe._smtp.server.settings.Settings`, such as ``max_size=1000``,
            ``lmtp=["127.0.0.1:0"]``, ``auth_mechanisms=["CRAM-MD5"]`` (none: ``[]``) or
            ``maildir="/mnt/mail"``; ``smtp=["127.0.0.1:2525"]`` says where it listens in place of `port`.
            With ``split="{domain}/{local}"`` each address has a Maildir of its own; see `mailbox`.

    Attributes:
        faults: what shall go wrong: ``faults.add(stage="rcpt", reply="450 4.2.1 Later", times=1)``;
            see `maildir_safe._smtp.faults.faults.Fault`.
        directory: where the messages are: the one Maildir, or the directory of the Maildirs.

    Raises:
        CannotListen: the port is taken. TypeError: no such setting. ValueError: settings that do not go
            together.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        tls: bool = False,
        auth: dict[str, str] | None = None,
        port: int = 0,
        **settings: Any,
    ) -> None:
        place = Path(directory)
        if auth:
            passwords = place / "passwords"
            passwords.write_text("".join(f"{name}:{hash_password(word)}\n" for name, word in auth.items()))
            settings["auth"] = str(passwords)
        if tls:
            settings["tls"] = "made"
        settings = {"maildir": str(place / "Maildir"), "smtp": [f"127.0.0.1:{port}"], **settings}
        settings["maildir"] = str(settings["maildir"])
        if port and settings["smtp"] != [f"127.0.0.1:{port}"]:
            raise ValueError("port and smtp both say where to listen: use one")
        self.faults = Faults()
        self._log = io.StringIO()
        self._server = BackgroundServer(
            Settings(**settings),
            self.faults,
            MessageLog(self._log),
            _page() if settings.get("web") else None,
        )
        self.directory = os.path.abspath(settings["maildir"])
        self._tree = MailboxTree(self.directory, settings.get("split") or "")
        self._maildirs: dict[str, Maildir] = {}
        if not self._tree.many:
            self._maildirs[""] = Maildir(self.directory)
        self._parsed: dict[tuple[str, str], ReceivedMessage] = {}
        self._waited_for: set[tuple[str, str]] = set()

    @property
    def host(self) -> str:
        """Where to send to by SMTP. ValueError: this server speaks LMTP only."""
        self._speaks(self._server.service.smtp_addresses, "SMTP")
        return self._server.host

    @property
    def port(self) -> int:
        """Where to send to by SMTP. ValueError: this server speaks LMTP only."""
        self._speaks(self._server.service.smtp_addresses, "SMTP")
        return self._server.port

    @property
    def lmtp_address(self) -> str:
        """The LMTP address: ``HOST:PORT`` or a socket's path. ValueError: the server speaks only SMTP."""
        return self._speaks(self._server.service.lmtp_addresses, "LMTP")

    def _speaks(self, addresses: list[str], protocol: str) -> str:
        if not addresses:
            raise ValueError(f"this server does not speak {protocol}: make it with {protocol.lower()}=")
        return addresses[0]

    @property
    def ca(self) -> str:
        """The file of the CA that signed the certificate, for clients that verify it."""
        if self._server.service.ca is None:
            raise ValueError("this server was made without tls=True")
        return self._server.service.ca

    def client_context(self) -> ssl.SSLContext:
        """Return a context for clients that verify the certificate, as ``SMTP.starttls`` takes it."""
        return ssl.create_default_context(cafile=self.ca)

    @property
    def log(self) -> str:
        """The server's log: one line for each message and each refusal."""
        return self._log.getvalue()

    @property
    def messages(self) -> list[ReceivedMessage]:
        """Return all readable messages, of all Maildirs together, oldest first.

        With `split`, a message to several addresses is there once for each, with that address's `mailbox`.
        """
        found = [
            (message.key, name)
            for name, maildir in self._mailboxes().items()
            for message in maildir.messages()
        ]
        found.sort(key=lambda one: (_when(one[0]), one[1]))
        for key, name in found:
            if (key, name) not in self._parsed:
                try:
                    self._parsed[key, name] = self._read(key, name)
                except (KeyError, MaildirSafeError, OSError):
                    continue  # removed in the meantime, not a message, or not readable now
        return [self._parsed[one] for one in found if one in self._parsed]

    @property
    def maildir(self) -> Maildir:
        """The one Maildir. ValueError: there are several; see `mailbox`."""
        if self._tree.many:
            raise ValueError("with split there are several Maildirs: use mailbox(address)")
        return self._maildirs[""]

    def mailbox(self, name: str) -> Maildir:
        """The Maildir of an address, with `split`.

        Args:
            name: what the fields of `split` name, in lower case, such as ``"ada@example.com"``.

        Raises:
            KeyError: there is none: no mail for it has come.
        """
        return self._mailboxes()[name]

    def _mailboxes(self) -> dict[str, Maildir]:
        if self._tree.many:
            for place in self._tree.find():
                if not place.folder and place.name not in self._maildirs:
                    self._maildirs[place.name] = Maildir(place.path, create=False)
        return dict(sorted(self._maildirs.items()))

    def wait(self, to: str = "", subject: str = "", timeout: float = 10.0) -> ReceivedMessage:
        """Wait for the oldest matching message that no earlier call has returned.

        Args:
            to: is contained in a recipient's address, in any case.
            subject: is contained in the subject, in any case.
            timeout: seconds.

        Raises:
            TimeoutError: none came; says what did.
        """
        until = time.monotonic() + timeout
        while True:
            messages = self.messages
            for message in messages:
                if _id(message) not in self._waited_for and _fits(message, to.lower(), subject.lower()):
                    self._waited_for.add(_id(message))
                    return message
            if time.monotonic() > until:
                raise TimeoutError(f"no new message to {to!r} about {subject!r} in {timeout} s of {messages}")
            time.sleep(_LOOK_AGAIN)

    async def wait_async(self, to: str = "", subject: str = "", timeout: float = 10.0) -> ReceivedMessage:
        """`wait` for asyncio: the event loop goes on meanwhile. Same arguments, result and error."""
        return await asyncio.to_thread(self.wait, to, subject, timeout)

    def assert_sent(
        self, to: str = "", subject: str = "", body: str = "", timeout: float = 10.0
    ) -> ReceivedMessage:
        """Wait for a message that has all of these, and return the oldest; it may be asserted again.

        Args:
            to: is contained in a recipient's address, in any case.
            subject: is contained in the subject, in any case.
            body: is contained in the text, or in the text of the HTML, in any case.
            timeout: seconds.

        Raises:
            AssertionError: none came; says what did, and how the nearest differs.
        """
        __tracebackhide__ = True
        wanted = Wanted(to, subject, body)
        until = time.monotonic() + timeout
        examined: set[tuple[str, str]] = set()
        while True:
            messages = self.messages
            for message in messages:
                if _id(message) not in examined and not wanted.misses(message):
                    return message
                examined.add(_id(message))
            if time.monotonic() > until:
                raise AssertionError(wanted.explain(messages))
            time.sleep(_LOOK_AGAIN)

    def clear(self) -> None:
        """Remove all messages."""
        for message in self.messages:
            self._maildirs[message.mailbox].discard(message.key)

    def __enter__(self) -> MaildirSmtp:
        self._server.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.stop()

    def _read(self, key: str, mailbox: str) -> ReceivedMessage:
        with self._maildirs[mailbox].open(key) as file:
            sender, recipients, raw = _without_trace(file.read())
        message = received_message(raw)
        message.sender, message.recipients, message.key = sender, recipients, key
        message.mailbox = mailbox
        return message


def _page() -> Page:
    from maildir_safe._web.app import serve_page

    return serve_page


def _id(message: ReceivedMessage) -> tuple[str, str]:
    return message.mailbox, message.key


def _fits(message: ReceivedMessage, to: str, subject: str) -> bool:
    about = str(message["Subject"] or "").lower()
    return subject in about and any(to in address.lower() for address in message.recipients)


def _when(key: str) -> tuple[int, int, str]:
    """Return the sort key for the order of delivery; a name without a time comes first."""
    return (*(arrival_time(key) or (0, 0)), key)


def _without_trace(stored: bytes) -> tuple[str, list[str], bytes]:
    """Return sender, recipients and the message as sent, which follows our Received header."""
    found = _TRACE.match(stored)
    if found is None:
        return "", [], stored  # put there by other means than this server
    recipients = [_address(line) for line in _RECIPIENT.findall(found[0])]
    return _address(found[1]), recipients, stored[found.end() :]


def _address(raw: bytes) -> str:
    return clean(guess(raw))
