"""Splits a submitted message into the fields of its header, and its body. Pure."""

from __future__ import annotations

from maildir_safe._submission import Rejected
from maildir_safe._submission.mailbox_list import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_IN_NAMES = bytes(range(ord("!"), ord("~") + 1))  # except for the colon, which ends a name
_SENDERS = {b"from", b"sender", b"reply-to"}
_WITH_ADDRESSES = {
    prefix + name
    for prefix in (b"", b"resent-")
    for name in (b"from", b"sender", b"reply-to", b"to", b"cc")
}  # fmt: skip


class Field:
    """A field of a header.

    Attributes:
        name: in lower case.
        raw: the whole field as written, with its folded lines and the final line end.
    """

    __slots__ = ("name", "raw")

    def __init__(self, name: bytes, raw: bytes) -> None:
        self.name = name
        self.raw = raw

    @property
    def value(self) -> str:
        """The text after the colon, folded as written. Bytes that are not UTF-8 become surrogates."""
        return self.raw.partition(b":")[2].decode("utf-8", "surrogateescape")

    def completed(self, domain: str, masked: Callable[[str], str] | None = None) -> bytes:
        """The field, with `domain` added to addresses without one. A malformed field stays as it is.

        Args:
            masked: changes an address of a sender (`Settings.masked`); None: they stay as they are.
        """
        if self.name not in _WITH_ADDRESSES:
            return self.raw
        text = self.value
        try:
            found = addresses(text)
        except Rejected:
            return self.raw
        mask = masked if masked and self.name.removeprefix(b"resent-") in _SENDERS else None
        pieces, done = [], 0
        for address in found:
            start, end = address.domain or (address.end or 0,) * 2
            old = address.text if address.domain else f"{address.text}@{domain}"
            new = mask(old) if mask else old
            if address.domain is None or new != old:
                pieces += [text[done:start], "@" * (address.domain is None), new.rpartition("@")[2]]
                done = end
        value = "".join([*pieces, text[done:]]).encode("utf-8", "surrogateescape")
        return self.raw.partition(b":")[0] + b":" + value


def split(message: bytes) -> tuple[list[Field], bytes]:
    """Split a message with LF line ends.

    The header ends before the first line that is neither a field nor the continuation of one.

    Returns:
        The fields, and the rest. The rest begins with the empty line that separates it from a header; that
        line is added where it is missing.
    """
    starts: list[tuple[bytes, int]] = []
    at = 0
    while at < len(message):
        if message[at] not in b" \t" or not starts:
            name = _name(message, at)
            if not name:
                break
            starts.append((name.lower(), at))
        at = (message.find(b"\n", at) + 1) or len(message)
    ends = [start for _, start in starts[1:]] + [at]
    fields = [Field(name, message[start:end]) for (name, start), end in zip(starts, ends, strict=False)]
    if fields and not fields[-1].raw.endswith(b"\n"):
        fields[-1].raw += b"\n"
    rest = message[at:]
    return fields, rest if rest.startswith(b"\n") else b"\n" + rest


def _name(message: bytes, at: int) -> bytes:
    """The name of the field that begins here; empty if none does."""
    colon = message.find(b":", at)
    name = message[at:colon].rstrip(b" \t") if colon > at else b""
    return b"" if name.translate(None, _IN_NAMES) else name
