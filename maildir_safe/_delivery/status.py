"""What became of a message for one recipient: the same words for the queue, its couriers and SMTP."""

from __future__ import annotations

from typing import NamedTuple

LONGEST_TEXT = 1000
"""Characters of a status text that are kept; a reply line of SMTP has 512 bytes at most."""


class RecipientStatus(NamedTuple):
    """What became of a message for one recipient.

    Attributes:
        code: as in SMTP (RFC 5321): 2xx the recipient has it, 4xx try again, 5xx never.
        text: in words, the enhanced status code (RFC 3463) first if there is one. Strangers read it,
            in a reply or a bounce, so it names no local path and no errno.
        error: what went wrong, for logs and operators alone; it may name local paths.
        stored: what the message is found by if it was stored: its file, or the id of its item.
        durability: of that file, one of `maildir_safe._delivery.receipt.DURABILITY_LEVELS`.
    """

    code: int
    text: str
    error: str = ""
    stored: str = ""
    durability: str = ""

    @classmethod
    def from_reply(
        cls, reply: str, error: str = "", stored: str = "", durability: str = ""
    ) -> RecipientStatus:
        """The status that a reply line says, such as ``250 2.0.0 Stored``.

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
        """The recipient has the message."""
        return 200 <= self.code < 300

    @property
    def permanent(self) -> bool:
        """Trying again cannot succeed."""
        return 500 <= self.code < 600

    @property
    def enhanced_code(self) -> str:
        """The enhanced status code, made up from the code where the text has none."""
        word = self.text.partition(" ")[0]
        parts = word.split(".")
        if len(parts) == 3 and all(part.isdecimal() and part.isascii() for part in parts):
            return word
        return f"{self.code // 100}.0.0"

    def cleaned(self) -> RecipientStatus:
        """The same with texts of one line, which cannot steer a terminal and are not endless."""
        return self._replace(text=one_line(self.text), error=one_line(self.error))


def one_line(text: str, longest: int = LONGEST_TEXT) -> str:
    """Text that a stranger wrote, fit for a log line, a header or a terminal.

    What does not print becomes a space, spaces are joined, and the end is cut off.
    """
    start = text[: 4 * longest]
    return " ".join("".join(c if c.isprintable() else " " for c in start).split())[:longest]
