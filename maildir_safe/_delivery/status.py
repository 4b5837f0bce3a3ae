"""The outcome of a message for one recipient, in a form that the queue, its couriers and SMTP share."""

from __future__ import annotations

from typing import NamedTuple

LONGEST_TEXT = 1000
"""The most characters of a status text that are kept; an SMTP reply line has at most 512 bytes."""


class RecipientStatus(NamedTuple):
    """The outcome of a message for one recipient.

    Attributes:
        code: as in SMTP (RFC 5321): 2xx delivered, 4xx retry later, 5xx failed permanently.
        text: the reply text, beginning with the enhanced status code (RFC 3463) if there is one.
            Strangers read it in a reply or a bounce, so it contains no local path and no errno.
        error: the cause, only for logs and operators; it may contain local paths.
        stored: identifies the message if it was stored: its file, or the id of its queue item.
        durability: the durability of that file, one of `maildir_safe._delivery.receipt.DURABILITY_LEVELS`.
        reported: another server has the message and will send the reports that the sender asked for.
    """

    code: int
    text: str
    error: str = ""
    stored: str = ""
    durability: str = ""
    reported: bool = False

    @classmethod
    def from_reply(
        cls, reply: str, error: str = "", stored: str = "", durability: str = ""
    ) -> RecipientStatus:
        """Return the status in a reply line, such as ``250 2.0.0 Stored``.

        Raises:
            ValueError: the line does not begin with a code.
        """
        return cls(int(reply[:3]), reply[4:], error, stored, durability)

    @property
    def reply(self) -> str:
        """The reply line for an SMTP client, without its CRLF."""
        return f"{self.code} {self.text}"

    @property
    def done(self) -> bool:
        """Whether the recipient has the message."""
        return 200 <= self.code < 300

    @property
    def permanent(self) -> bool:
        """Whether a retry cannot succeed."""
        return 500 <= self.code < 600

    @property
    def enhanced_code(self) -> str:
        """The enhanced status code; derived from `code` if the text has none."""
        word = self.text.partition(" ")[0]
        parts = word.split(".")
        if len(parts) == 3 and all(part.isdecimal() and part.isascii() for part in parts):
            return word
        return f"{self.code // 100}.0.0"

    def cleaned(self) -> RecipientStatus:
        """Return a copy whose texts are safe to print: one line, bounded, no control characters."""
        return self._replace(text=one_line(self.text), error=one_line(self.error))


def one_line(text: str, longest: int = LONGEST_TEXT) -> str:
    """Make a stranger's text safe for a log line, a header or a terminal.

    Unprintable characters become spaces, runs of spaces become one, and the end is cut off.
    """
    start = text[: 4 * longest]
    return " ".join("".join(c if c.isprintable() else " " for c in start).split())[:longest]
