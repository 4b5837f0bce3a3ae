"""A message that a mail server pipes in. Its envelope line is dropped, and its lines end in LF.

A small message is read into memory, so that its file can be rewritten after a failed fsync. A large
message is streamed in constant memory.
"""

from __future__ import annotations

from maildir_safe.errors import TemporaryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

IN_MEMORY = 4 << 20
"""The largest message, in bytes, that is read into memory."""

_CHUNK = 1 << 18


class Incoming:
    """A message from a pipe, with LF line ends and without the mbox line (``From sender date``).

    CRLF becomes LF. A lone CR is kept, and so is ``>From ``, which is part of the text.

    Args:
        raw: an unbuffered binary stream, such as ``sys.stdin.buffer.raw``. The constructor reads it,
            up to `in_memory`.
        in_memory: the largest message, in bytes, that is read into memory; None: any size.

    Attributes:
        start: the whole message, or the first part of a larger one.
        whole: whether `start` is the whole message.

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
        """Return the argument for `Maildir.deliver`: bytes, or a stream for a large message."""
        return self.start if self.whole else self

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002 - a piece of any size will do
        """Return the next piece, of any size; ``b""`` at the end."""
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
    """Return a message, or its beginning, without a leading mbox line (``From sender date``)."""
    return message.partition(b"\n")[2] if message.startswith(b"From ") else message


def _unix_lines(read: Any) -> Iterator[bytes]:
    held = b""  # a CR that ends a piece: its LF may begin the next piece
    while chunk := read():
        data = held + chunk if held else chunk
        held = b"\r" if data.endswith(b"\r") else b""
        if b"\r" in data:
            data = data[: len(data) - len(held)].replace(b"\r\n", b"\n")
        if data:
            yield data
    if held:
        yield held
