"""The server's log: one line per message, and one per refused sender or recipient.

Everything that a client sent is printed as a JSON string in ASCII, in the text format too. No
control character, terminal escape or line end of a client's ever reaches the log.

A failure to write the log changes no reply: a full disk under the log, or a pipe whose reader has
exited, must not make a client send a stored message again.
"""

from __future__ import annotations

import json
import sys
import time
from json.encoder import encode_basestring_ascii as _quoted
from typing import TYPE_CHECKING, Protocol

from maildir_safe._fs.journal import is_journal, journal_prefix
from maildir_safe._smtp.protocol.replies import worst

if TYPE_CHECKING:
    from typing import Any, TextIO

    from maildir_safe._delivery.status import RecipientStatus
    from maildir_safe._smtp.backends.store import MailObject


_PRIORITIES = {"stored": 6, "refused": 5, "auth-failed": 4, "error": 3}  # syslog(3)


class Client(Protocol):
    """The client that a line of the log is about."""

    @property
    def peer(self) -> str:
        """The client's IP address; ``""`` on a unix socket."""

    @property
    def lmtp(self) -> bool:
        """Whether the client speaks LMTP."""


class MessageLog:
    """Writes the log. Its methods never raise.

    Args:
        stream: the log's stream; None writes nothing.
        as_json: write one JSON object per line instead of text.

    Attributes:
        lost: number of lines that could not be written.
    """

    def __init__(self, stream: TextIO | None = sys.stderr, as_json: bool = False) -> None:
        self._stream = stream
        self._json = as_json
        journal = is_journal(stream)
        self._prefixes = {event: journal_prefix(level) for event, level in _PRIORITIES.items() if journal}
        self._second = -1
        self._stamp = ""
        self.lost = 0

    def message(
        self,
        client: Client,
        mail: MailObject,
        size: int,
        results: list[RecipientStatus],
        seconds: float,
        *,
        refused: list[str],
        answer: str = "",
    ) -> None:
        """Log that a message was stored or refused.

        Args:
            client: the client that sent it.
            mail: its envelope.
            size: bytes received, as RFC 1870 counts them.
            results: the status of each recipient.
            seconds: time from DATA to the reply.
            refused: recipients that were refused before DATA.
            answer: the reply that the client got, if it differs from what `results` say.
        """
        if self._stream is None:
            return
        self._write(
            "stored" if all(result.stored for result in results) else "refused",
            client,
            message_id=mail.message_id or [],
            sender=mail.sender,
            recipients=[recipient.address for recipient in mail.recipients],
            refused_recipients=refused,
            size=size,
            seconds=round(seconds, 4),
            reply=answer or worst([result.reply for result in results]),
            durability=sorted({result.durability for result in results if result.durability}),
            stored=sorted({result.stored for result in results if result.stored}),
            errors=sorted({result.error for result in results if result.error}),
        )

    def refused(self, client: Client, command: str, reply: str) -> None:
        """Log that a command was answered with an error."""
        self._write("refused", client, command=command, reply=reply)

    def wrong_password(self, client: Client, name: str) -> None:
        """Log that AUTH failed; what the client said is its name, cut to 255 characters."""
        self._write("auth-failed", client, name=name[:255])

    def failure(self, client: Client, error: Exception) -> None:
        """Log an unexpected error."""
        self._write("error", client, errors=[f"{type(error).__name__}: {error}"])

    def _write(self, event: str, client: Client, **facts: Any) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(self._prefixes.get(event, "") + self._line(event, client, facts))
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream is closed
            self.lost += 1

    def _line(self, event: str, client: Client, facts: dict[str, Any]) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:  # formatting a time takes longer than all the rest of a line
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        stamp = f"{self._stamp}.{int(now % 1 * 1000):03}Z"
        protocol = "lmtp" if client.lmtp else "smtp"
        facts = {"peer": client.peer or "local", **facts}
        if self._json:
            filled = {name: fact for name, fact in facts.items() if fact != []}
            line = json.dumps({"time": stamp, "event": event, "protocol": protocol, **filled})
        else:
            shown = [f"{name}={_text(fact)}" for name, fact in facts.items() if fact != []]
            line = f"{stamp} {protocol} {event} " + " ".join(shown)
        return line.replace("\x7f", "\\u007f") + "\n"  # the one control character that JSON does not escape


def _text(fact: Any) -> str:
    """A fact in JSON. For the types of every message's line this is `json.dumps` at a third of its price."""
    kind = type(fact)
    if kind is str:
        return _quoted(fact)
    if kind is list:
        return "[" + ", ".join([_quoted(text) for text in fact]) + "]"
    return json.dumps(fact)
