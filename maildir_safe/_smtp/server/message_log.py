"""The server's log: one line for each message and for each refused sender or recipient.

Whatever a client sent is printed as a JSON string in ASCII, in the text format too: no control
character, no terminal escape and no line end of a client's ever reaches the log.
"""

from __future__ import annotations

import json
import sys
import time

from maildir_safe._smtp.protocol.replies import worst

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    from maildir_safe._smtp.backends.maildir_store import MailObject, RecipientStatus
    from maildir_safe._smtp.server.connection import Connection


class MessageLog:
    """Writes the log.

    Args:
        stream: where to; None keeps silent.
        as_json: one JSON object a line instead of text.
    """

    def __init__(self, stream: TextIO | None = sys.stderr, as_json: bool = False) -> None:
        self._stream = stream
        self._json = as_json

    def message(
        self, session: Connection, mail: MailObject, size: int, results: list[RecipientStatus], seconds: float
    ) -> None:
        """A message was stored or refused.

        Args:
            session: who brought it.
            delivery: its envelope.
            size: bytes received.
            results: one for each recipient.
            seconds: from DATA to the answer.
        """
        if self._stream is None:
            return
        self._write(
            "stored" if all(result.stored for result in results) else "refused",
            session,
            sender=mail.sender,
            recipients=[recipient.address for recipient in mail.recipients],
            size=size,
            seconds=round(seconds, 4),
            reply=worst([result.reply for result in results]),
            durability=sorted({result.durability for result in results if result.durability}),
            stored=sorted({result.stored for result in results if result.stored}),
            errors=sorted({result.error for result in results if result.error}),
        )

    def refused(self, session: Connection, command: str, reply: str) -> None:
        """A command was answered with an error."""
        self._write("refused", session, command=command, reply=reply)

    def failure(self, session: Connection, error: Exception) -> None:
        """Something broke that should not."""
        self._write("error", session, errors=[f"{type(error).__name__}: {error}"])

    def _write(self, event: str, session: Connection, **facts: Any) -> None:
        if self._stream is None:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03}Z"
        protocol = "lmtp" if session.lmtp else "smtp"
        facts = {
            "peer": session.peer or "local",
            **{name: fact for name, fact in facts.items() if fact != []},
        }
        if self._json:
            line = json.dumps({"time": stamp, "event": event, "protocol": protocol, **facts})
        else:
            line = f"{stamp} {protocol} {event} " + " ".join(
                f"{name}={json.dumps(facts[name])}" for name in facts
            )
        self._stream.write(line.replace("\x7f", "\\u007f") + "\n")  # the one control character JSON lets pass
        self._stream.flush()
