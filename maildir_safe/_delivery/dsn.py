"""What a sender asks for about reports of a message: NOTIFY, RET, ENVID and ORCPT (RFC 3461). Pure.

Values are kept as the parameters of SMTP spell them (xtext), so that they can be passed on as they came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maildir_safe._delivery.status import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NEVER, SUCCESS, FAILURE, DELAY = "NEVER", "SUCCESS", "FAILURE", "DELAY"

_LONGEST = 2048  # bytes of a value: RFC 3461 has 100 for ENVID and 500 for ORCPT; a command line has 2,048
_NOTHING = "-"


class Dsn:
    """The reports that a sender asks for.

    Args:
        returns: RET, ``"FULL"`` or ``"HDRS"``: how much of the message a report of failure contains.
        envelope_id: ENVID, as xtext.
        notify: NOTIFY by recipient: ``"NEVER"``, or some of SUCCESS, FAILURE and DELAY, with commas.
        originals: ORCPT by recipient: a type, a semicolon, and the address as xtext.

    An empty or missing value means that the sender did not say.

    Raises:
        ValueError: a value is malformed.
    """

    __slots__ = ("envelope_id", "notify", "originals", "returns")

    def __init__(
        self,
        returns: str = "",
        envelope_id: str = "",
        notify: dict[str, str] | None = None,
        originals: dict[str, str] | None = None,
    ) -> None:
        self.returns = returns.upper()
        self.envelope_id = envelope_id
        self.notify = {who: words.upper() for who, words in (notify or {}).items() if words}
        self.originals = {who: original for who, original in (originals or {}).items() if original}
        if self.returns not in ("", "FULL", "HDRS"):
            raise ValueError(f"RET is FULL or HDRS, not {returns[:20]!a}")
        if envelope_id and not _is_word(envelope_id):
            raise ValueError("ENVID is not xtext")
        for words in self.notify.values():
            if words != NEVER and not {SUCCESS, FAILURE, DELAY}.issuperset(words.split(",")):
                raise ValueError(f"NOTIFY is NEVER or some of SUCCESS,FAILURE,DELAY, not {words[:40]!a}")
        for original in self.originals.values():
            kind, _, address = original.partition(";")
            if not (kind and address and _is_word(original)):
                raise ValueError("ORCPT is not type;address in xtext")

    def __bool__(self) -> bool:
        """Whether the sender has asked for anything."""
        return bool(self.returns or self.envelope_id or self.notify or self.originals)

    def wants(self, recipient: str, what: str) -> bool:
        """Whether the sender wants a report about a recipient.

        Args:
            what: `SUCCESS`, `FAILURE` or `DELAY`. Unless the sender says otherwise, failures are reported,
                and delays may be.
        """
        words = self.notify.get(recipient)
        return what != SUCCESS if words is None else what in words.split(",")

    def message_words(self) -> str:
        """The parameters of MAIL, each with a blank before it."""
        ret = f" RET={self.returns}" if self.returns else ""
        return ret + (f" ENVID={self.envelope_id}" if self.envelope_id else "")

    def recipient_words(self, recipient: str) -> str:
        """The parameters of RCPT, each with a blank before it."""
        notify, original = self.notify.get(recipient), self.originals.get(recipient)
        return (f" NOTIFY={notify}" if notify else "") + (f" ORCPT={original}" if original else "")

    def lines(self, recipients: Iterable[str]) -> list[str]:
        """The whole as text for an envelope: a line for the message, and a line for each recipient."""
        words = [self.message_words(), *map(self.recipient_words, recipients)]
        return [line.strip() or _NOTHING for line in words]


def parse(lines: Sequence[str], recipients: Sequence[str]) -> Dsn:
    """Read what `Dsn.lines` has written.

    Args:
        lines: the line for the message, and one for each recipient.
        recipients: in the same order.

    Raises:
        ValueError: a line is malformed.
    """
    message = _parameters(lines[0], "RET", "ENVID")
    each = [_parameters(line, "NOTIFY", "ORCPT") for line in lines[1:]]
    return Dsn(
        message.get("RET", ""),
        message.get("ENVID", ""),
        {who: found.get("NOTIFY", "") for who, found in zip(recipients, each, strict=True)},
        {who: found.get("ORCPT", "") for who, found in zip(recipients, each, strict=True)},
    )


def xtext(text: str) -> str:
    """Encode text as xtext (RFC 3461 section 4)."""
    return "".join(
        chr(byte) if 0x21 <= byte <= 0x7E and byte not in b"+=" else f"+{byte:02X}"
        for byte in text.encode("utf-8", "surrogateescape")
    )


def from_xtext(text: str) -> str:
    """Decode xtext into one printable line; what is not xtext stays as it is."""
    first, *rest = text.encode("ascii", "replace").split(b"+")
    for piece in rest:
        digits = piece[:2]
        known = len(digits) == 2 and all(c in b"0123456789ABCDEFabcdef" for c in digits)
        first += bytes([int(digits, 16)]) + piece[2:] if known else b"+" + piece
    return one_line(first.decode("utf-8", "replace"))


def in_ascii(text: str) -> str:
    r"""Write text in ASCII, with ``\x{...}`` for other characters (RFC 6533 section 3)."""
    if text.isascii():
        return text
    return "".join(c if " " <= c < "\x7f" and c != "\\" else f"\\x{{{ord(c):X}}}" for c in text)


def _parameters(line: str, *names: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in [] if line == _NOTHING else line.split(" "):
        name, _, value = word.partition("=")
        if name not in names or name in found or not value:
            raise ValueError(f"not a parameter: {word[:40]!a}")
        found[name] = value
    return found


def _is_word(text: str) -> bool:
    return len(text) <= _LONGEST and all("!" <= c <= "~" and c != "=" for c in text)
