"""The message as a mail server pipes it in: its envelope line and line ends, and what its header tells.

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

HEADER = 128 << 10
"""Bytes up to which a header is looked at: what deliveries add stands on top."""

_CHUNK = 1 << 18


class Incoming:
    """A message from a pipe; lines end in LF, and the mbox line (``From sender date``) is gone.

    CRLF becomes LF; a CR that stands alone is left as it is, and so is ``>From ``, which is text.

    Args:
        raw: an unbuffered binary stream, such as ``sys.stdin.buffer.raw``; it is read at once, up to
            `IN_MEMORY`.

    Attributes:
        start: the whole message, or the first part of one that is larger.
        whole: whether `start` is all of it.

    Raises:
        TemporaryError: the stream cannot be read, or is empty: a message has at least a header.
    """

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._pieces = _unix_lines(self._read)
        chunks, size = [], 0
        while size <= IN_MEMORY and (piece := next(self._pieces, b"")):
            chunks.append(piece)
            size += len(piece)
        self.whole = size <= IN_MEMORY
        start = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if start.startswith(b"From "):
            start = start.partition(b"\n")[2]
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


class TraceHeader:
    """What deliveries before this one have left in a message's header.

    A header that stands above the first ``Received:`` was put there by the mail server that runs us
    (Postfix's local(8) and pipe(8) flags DOR, preline of qmail), for this very delivery: it is not
    put there twice, and a ``Delivered-To:`` there is no loop. Further down, it is one. A message
    without any ``Received:`` came from no mail server, so that nothing in it is ours.
    """

    def __init__(self, start: bytes) -> None:
        header = b"" if start.startswith(b"\n") else start[:HEADER].partition(b"\n\n")[0]
        fields = [_field(line) for line in header.split(b"\n")]
        names = [name for name, _ in fields]
        first_hop = names.index(b"received") if b"received" in names else 0
        self._put_on_top = names[:first_hop]
        self._delivered_to = {value for name, value in fields[first_hop:] if name == b"delivered-to"}

    def has(self, name: bytes) -> bool:
        """Whether the mail server has put this header (lower-case name) on top already."""
        return name in self._put_on_top

    def loops(self, recipient: str) -> bool:
        """Whether the message was delivered to this address before."""
        return recipient.encode("utf-8", "surrogateescape").lower() in self._delivered_to


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.rstrip().lower(), value.strip().lower()
