"""A message as a mail server pipes it in: its envelope line dropped, its line ends made LF.

Small messages are read whole, so that a file whose fsync failed can be written anew; large ones
are streamed in constant memory.
"""

from __future__ import annotations

from maildir_safe.errors import TemporaryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

IN_MEMORY = 4 << 20
"""Bytes up to which a message is read whole."""

_CHUNK = 1 << 18


class Incoming:
    """A message from a pipe; lines end in LF, and the mbox line (``From sender date``) is gone.

    CRLF becomes LF; a CR that stands alone is left as it is, and so is ``>From ``, which is text.

    Args:
        raw: an unbuffered binary stream, such as ``sys.stdin.buffer.raw``; it is read at once, up to
            `in_memory`.
        in_memory: bytes up to which it is read whole; None: however large it is.

    Attributes:
        start: the whole message, or the first part of one that is larger.
        whole: whether `start` is all of it.

    Raises:
        TemporaryError: the stream cannot be read, or is empty: a message has at least a header.
    """

    def __init__(self, raw: Any, in_memory: int | None = IN_MEMORY) -> None:
        self._raw = raw
        self._pieces = _unix_lines(self._read)
        chunks, size = [], 0
        while (in_memory is None or size <= in_memory) and (piece := next(self._pieces, b"")):
            chunks.append(piece)
            size += len(piece)
        self.whole = in_memory is None or size <= in_memory
        start = without_mbox_line(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        if not start:
            raise TemporaryError("there was no message on standard input")
        self.start = start
        self._rest: bytes | None = start

    def content(self) -> Any:
        """What `Maildir.deliver` takes: bytes, or for a large message a stream."""
        return self.start if self.whole else self

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002 - any piece will do for who writes a file
        """The next piece, of any size; ``b""`` at the end."""
        if self._rest is not None:
            piece, self._rest, self.start = self._rest, None, b""
            return piece
        return next(self._pieces, b"")

    def _read(self) -> bytes:
        try:
            chunk: bytes | None = self._raw.read(_CHUNK)
        except OSError as error:
            raise TemporaryError(f"standard input cannot be read: {error.strerror}") from error
        if chunk is None:
            raise TemporaryError("standard input is non-blocking and has nothing yet: give a blocking pipe")
        return chunk


def without_mbox_line(message: bytes) -> bytes:
    """A message, or its beginning, without the line (``From sender date``) that begins it in an mbox."""
    return message.partition(b"\n")[2] if message.startswith(b"From ") else message


def _unix_lines(read: Any) -> Iterator[bytes]:
    held = b""  # a CR at the end of a piece, whose LF may begin the next one
    while chunk := read():
        data = held + chunk if held else chunk
        held = b"\r" if data.endswith(b"\r") else b""
        if b"\r" in data:
            data = data[: len(data) - len(held)].replace(b"\r\n", b"\n")
        if data:
            yield data
    if held:
        yield held
