"""Standard input as `sendmail` reads it: up to a line that is a lone dot, and up to a limit."""

from __future__ import annotations

from maildir_safe._delivery.incoming import Incoming
from maildir_safe._submission import Rejected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def read_message(raw: Any, size_limit: int, *, until_dot: bool = False) -> bytes:
    """Read a message, with LF line ends and without an mbox line.

    Args:
        raw: an unbuffered binary stream.
        size_limit: most bytes.
        until_dot: end at a line that is a lone dot, as well as at the end of the stream.

    Raises:
        Rejected: the message is larger than the limit.
        TemporaryError: the stream cannot be read, or is empty.
    """
    message = Incoming(_UntilDot(raw) if until_dot else raw, size_limit)
    if not message.whole:
        raise Rejected(f"the message is larger than {size_limit} bytes")
    return message.start


class _UntilDot:
    """A stream that ends before a line with nothing but a dot."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._held = b"\n"  # the end of what was read: a dot may follow, or a line end after the dot
        self._skip = 1  # bytes of it that are not part of the message
        self._ended = False

    def read(self, size: int) -> bytes | None:
        """Return the next bytes; ``b""`` at the end, None as a non-blocking stream does."""
        while not self._ended:
            chunk = self._raw.read(size)
            if chunk is None:
                return None
            piece = self._next(chunk)
            if piece:
                return piece
        return b""

    def _next(self, chunk: bytes) -> bytes:
        data = self._held + chunk
        skip = self._skip
        self._ended = not chunk
        if not chunk:
            end = (
                len(data) - len(data.rpartition(b"\n")[2]) if data.endswith((b"\n.", b"\n.\r")) else len(data)
            )
            return data[skip:end]
        dots = [at for dot in (b"\n.\n", b"\n.\r\n") if (at := data.find(dot)) >= 0]
        if dots:
            self._ended = True
            return data[skip : min(dots) + 1]
        tail = next((tail for tail in (b"\n.\r", b"\n.", b"\n") if data.endswith(tail)), b"")
        # the line end itself has been seen only if it goes out now: then it is held as a mark alone
        self._held, self._skip = tail, min(len(tail), 1)
        return data[skip : len(data) - len(tail) + self._skip]
