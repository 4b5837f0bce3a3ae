"""The content of a message to deliver: bytes, text, an email object or a stream, with headers on top."""

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
    """Return the bytes of a message, in chunks.

    Args:
        content: the message. A stream must be binary. A tuple holds the pieces of a message that
            many deliveries share; they are not copied into one.
        head: headers to put on top; `gap` may add an empty line after them.

    Returns:
        A tuple, which can be iterated repeatedly. For a stream, an iterator that can be used once and
        takes constant memory. Iterating it raises TypeError if the stream returns text, and
        TemporaryError if the stream cannot be read.

    Raises:
        TypeError: `content` is not a message.
    """
    if isinstance(content, bytes):
        return _below(head, content)
    if isinstance(content, tuple):
        return (head + gap(content[0]), *content) if head and content else content
    if isinstance(content, str):
        # surrogateescape restores the bytes of text that was decoded from an unknown encoding
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
    """Join the chunks of a small message, so that one call writes it; a large message is not copied."""
    if isinstance(chunks, tuple) and sum(map(len, chunks)) <= _CHUNK:
        return (b"".join(chunks),)
    return chunks


def gap(start: bytes) -> bytes:
    """Return what must separate headers from a message that begins with `start`: usually nothing.

    A first line that begins with a blank would continue the last header above it. It could hide that
    header, or be hidden in it. An empty line then ends the headers, as in Postfix.
    """
    return b"\n" if start[:1] in (b" ", b"\t") else b""


def _below(head: bytes, data: bytes) -> Chunks:
    return (head, gap(data) + data) if head else (data,)  # a message without headers is not copied


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
    """Return the stored form of an email object: LF line ends, and no line refolded."""
    import io
    from email.generator import BytesGenerator

    out = io.BytesIO()
    BytesGenerator(out, mangle_from_=False, maxheaderlen=0).flatten(message, linesep="\n")
    return out.getvalue()
