"""A message on its way in: bytes, text, an email object or a stream, with headers on top."""

from __future__ import annotations

from maildir_safe.errors import TemporaryError, storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message as EmailMessage
    from typing import Any, BinaryIO, TypeAlias

    Content: TypeAlias = bytes | bytearray | memoryview | str | tuple[bytes, ...] | EmailMessage | BinaryIO
    Chunks: TypeAlias = tuple[bytes, ...] | Iterator[bytes]

_CHUNK = 1 << 18


def chunks(content: Content, head: bytes = b"") -> Chunks:
    """The bytes of a message.

    Args:
        content: the message. A stream must be binary. A tuple holds the pieces of a message that
            many deliveries share: it is not copied to be joined.
        head: headers to put on top; see `gap` for what stands between.

    Returns:
        A tuple, which one can go through again; of a stream an iterator, constant memory, once. Going
        through it raises TypeError if the stream gives text, and TemporaryError if it cannot be read.

    Raises:
        TypeError: this is no message.
    """
    if isinstance(content, bytes):
        return _below(head, content)
    if isinstance(content, tuple):
        return (head + gap(content[0]), *content) if head and content else content
    if isinstance(content, str):
        # surrogateescape: text that was decoded from unknown bytes becomes those bytes again
        return _below(head, content.encode("utf-8", "surrogateescape"))
    if isinstance(content, (bytearray, memoryview)):
        return _below(head, bytes(content))
    if hasattr(content, "walk"):
        return _below(head, flatten(content))
    if hasattr(content, "read"):
        return _streamed(content, head)
    raise TypeError(
        f"a message is bytes, str, an email.message.Message or a binary stream, not {type(content)!r}"
    )


def joined(chunks: Chunks) -> Chunks:
    """A small message in one piece, for one call to write it; a large one is not copied."""
    if isinstance(chunks, tuple) and sum(map(len, chunks)) <= _CHUNK:
        return (b"".join(chunks),)
    return chunks


def gap(start: bytes) -> bytes:
    """What must stand between headers and a message that begins with `start`: most often nothing.

    A first line that begins with a blank would continue the last header above it, and could hide it
    or be hidden in it. An empty line ends the headers, as Postfix does it.
    """
    return b"\n" if start[:1] in (b" ", b"\t") else b""


def _below(head: bytes, data: bytes) -> Chunks:
    return (head, gap(data) + data) if head else (data,)  # one piece is not copied to be joined


def _streamed(stream: BinaryIO, head: bytes) -> Iterator[bytes]:
    chunk = _read(stream)
    if head:
        yield head + gap(chunk)
    while chunk:
        yield chunk
        chunk = _read(stream)


def _read(stream: BinaryIO) -> bytes:
    try:
        chunk: bytes | None = stream.read(_CHUNK)
    except OSError as error:
        raise storage_error("read the message", error) from error
    if chunk is None:
        raise TemporaryError("read the message: the stream is non-blocking and has nothing yet")
    if not isinstance(chunk, bytes):
        raise TypeError("the stream of a message must be binary (open it with mode 'rb')")
    return chunk


def flatten(message: Any) -> bytes:
    """An email object as it is stored: LF line ends, its own lines left as they are."""
    import io
    from email.generator import BytesGenerator

    out = io.BytesIO()
    BytesGenerator(out, mangle_from_=False, maxheaderlen=0).flatten(message, linesep="\n")
    return out.getvalue()
