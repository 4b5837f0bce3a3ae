"""What `assert_sent` wants of a message, and how it says what it found in its place."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from maildir_safe._mail.message import read_mail
from maildir_safe._mail.words import clean
from maildir_safe.testing.received_message import ReceivedMessage

_MOST_TOLD = 5
_MOST_LINES = 40
_MOST_COMPARED = 500
_LONGEST = 200


@dataclass(frozen=True)
class Wanted:
    """The message that a test expects. Every text is contained, in any case; ``""`` matches everything.

    Attributes:
        to: in a recipient's address.
        subject: in the subject.
        body: in the text, or in the text of the HTML. Blanks at the end of its lines do not count.
    """

    to: str
    subject: str
    body: str

    def misses(self, message: ReceivedMessage) -> list[str]:
        """The names of what a message lacks: to, subject, body."""
        found = {"to": "\n".join(message.recipients), "subject": str(message["Subject"] or "")}
        missing = [name for name in found if getattr(self, name).lower() not in found[name].lower()]
        if self.body and not any(_plain(self.body).strip() in text for text in map(_plain, _texts(message))):
            missing.append("body")
        return missing

    def explain(self, messages: list[ReceivedMessage]) -> str:
        """Why none of these messages is the one, the nearest first, with a diff of its body.

        Args:
            messages: all messages that came.
        """
        wanted = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if value)
        lines = [f"no message with {wanted or 'anything'}: {len(messages)} came"]
        near = sorted(((self.misses(message), message) for message in messages), key=lambda one: len(one[0]))
        for missing, message in near[:_MOST_TOLD]:
            lines.append(f"  {clean(repr(message))[:_LONGEST]} differs in {', '.join(missing)}")
        if len(near) > _MOST_TOLD:
            lines.append(f"  ... and {len(near) - _MOST_TOLD} more")
        if near and "body" in near[0][0]:
            lines += ["", "body of the nearest (- wanted, + came):", *self._difference(near[0][1])]
        return "\n".join(lines)

    def _difference(self, message: ReceivedMessage) -> list[str]:
        came = next(filter(str.strip, _texts(message)), "")
        pair = (self.body.strip().splitlines(), came.strip().splitlines())
        wanted, found = ([clean(line)[:_LONGEST] for line in text[:_MOST_COMPARED]] for text in pair)
        lines = [*difflib.unified_diff(wanted, found, lineterm="", n=1)][2:]
        more = [f"... and {len(lines) - _MOST_LINES} more lines"] if len(lines) > _MOST_LINES else []
        return [*lines[:_MOST_LINES], *more]


def _texts(message: ReceivedMessage) -> tuple[str, str]:
    mail = read_mail(message.raw, images=False)
    return mail.text or "", mail.html_text


def _plain(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.lower().splitlines())
