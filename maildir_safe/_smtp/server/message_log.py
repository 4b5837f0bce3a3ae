"""The server's log: one line for each message and for each refused sender or recipient.

Whatever a client sent is printed as a JSON string in ASCII, in the text format too: no control
character, no terminal escape and no line end of a client's ever reaches the log.

A log that cannot be written changes no answer: a full disk below it, or a pipe whose reader has
ended, must not make a client send again what is stored.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Protocol

from maildir_safe._smtp.protocol.replies import worst

if TYPE_CHECKING:
    from typing import Any, TextIO

    from maildir_safe._delivery.status import RecipientStatus
    from maildir_safe._smtp.backends.store import MailObject


class Client(Protocol):
    """Whom a line of the log is about."""

    @property
    def peer(self) -> str:
        """Its IP address; ``""`` on a unix socket."""

    @property
    def lmtp(self) -> bool:
        """Whether it speaks LMTP."""


class MessageLog:
    """Writes the log. Its methods never raise.

    Args:
        stream: where to; None keeps silent.
        as_json: one JSON object a line instead of text.

    Attributes:
        lost: lines that could not be written.
    """

    def __init__(self, stream: TextIO | None = sys.stderr, as_json: bool = False) -> None:
        self._stream = stream
        self._json = as_json
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
        """A message was stored or refused.

        Args:
            client: who brought it.
            mail: its envelope.
            size: bytes received, as RFC 1870 counts them.
            results: one for each recipient.
            seconds: from DATA to the answer.
            refused: recipients that were refused before it came.
            answer: what the client heard, if that is not what `results` say.
        """
        if self._stream is None:
            return
        self._write(
            "stored" if all(result.stored for result in results) else "refused",
            client,
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
        """A command was answered with an error."""
        self._write("refused", client, command=command, reply=reply)

    def failure(self, client: Client, error: Exception) -> None:
        """Something broke that should not."""
        self._write("error", client, errors=[f"{type(error).__name__}: {error}"])

    def _write(self, event: str, client: Client, **facts: Any) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(self._line(event, client, facts))
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: somebody has closed it
            self.lost += 1

    def _line(self, event: str, client: Client, facts: dict[str, Any]) -> str:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03}Z"
        protocol = "lmtp" if client.lmtp else "smtp"
        facts = {"peer": client.peer or "local", **{name: fact for name, fact in facts.items() if fact != []}}
        if self._json:
            line = json.dumps({"time": stamp, "event": event, "protocol": protocol, **facts})
        else:
            line = f"{stamp} {protocol} {event} " + " ".join(
                f"{name}={json.dumps(facts[name])}" for name in facts
            )
        return line.replace("\x7f", "\\u007f") + "\n"  # the one control character JSON lets pass
