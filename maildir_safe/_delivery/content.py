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

FIRST_LINE = 998
"""The most bytes of a first line that are examined: the longest line that RFC 5322 allows."""

EMPTY_LINE = b"\n"
MAILBOX_LINE = b"X-Mailbox-Line: "
"""`EMPTY_LINE` and `MAILBOX_LINE` are what `gap` puts between headers and a message."""

_IN_FIELD_NAMES = bytes(range(33, 127))  # RFC 5322 2.2; a translation, since every message is asked
_CHUNK = 1 << 18


def chunks(content: Content, head: bytes = b"", head_above_gap: bytes = b"") -> Chunks:
    """Return the bytes of a message, in chunks.

    Args:
        content: the message. A stream must be binary. A tuple holds the pieces of a message that
            many deliveries share; they are not copied into one.
        head: headers to put on top; `gap` says what follows them.
        head_above_gap: put on top in place of `head` where `gap` adds something. Who reads the file can
            so tell the message from what was added.

    Returns:
        A tuple, which can be iterated repeatedly. For a stream, an iterator that can be used once and
        takes constant memory. Iterating it raises TypeError if the stream returns text, and
        TemporaryError if the stream cannot be read.

    Raises:
        TypeError: `content` is not a message.
    """
    if isinstance(content, bytes):
        return _below(head, content, head_above_gap)
    if isinstance(content, tuple):
        return (_top(head, head_above_gap, content), *content) if head and content else content
    if isinstance(content, str):
        # surrogateescape restores the bytes of text that was decoded from an unknown encoding
        return _below(head, content.encode("utf-8", "surrogateescape"), head_above_gap)
    if isinstance(content, (bytearray, memoryview)):
        return _below(head, bytes(content), head_above_gap)
    if hasattr(content, "walk"):
        return _below(head, flatten(content), head_above_gap)
    if hasattr(content, "read"):
        return _streamed(content, head, head_above_gap)
    raise TypeError(
        f"a message is bytes, str, an email.message.Message or a binary stream, not {type(content)!r}"
    )


def joined(chunks: Chunks) -> Chunks:
    """Join the chunks of a small message, so that one call writes it; a large message is not copied."""
    if isinstance(chunks, tuple) and len(chunks) > 1 and sum(map(len, chunks)) <= _CHUNK:
        return (b"".join(chunks),)
    return chunks


def gap(*pieces: bytes) -> bytes:
    """Return what must separate headers from a message that stands below them: usually nothing.

    A first line that is neither empty nor a header field would end the headers, and hide those below it
    from most readers, or continue the last one. As in Postfix an empty line ends them before it, so that
    the whole message is the body. An mbox line (``From `` or ``>From ``) becomes ``X-Mailbox-Line:``, as in
    Postfix too: the fields below it stay fields.

    Args:
        pieces: the message, or its beginning: its first line, or `FIRST_LINE` bytes of it.
    """
    if pieces and begins_plainly(pieces[0]):
        return b""
    start = b""
    for piece in pieces:
        start += piece[:FIRST_LINE]
        if len(start) >= FIRST_LINE:
            break
    if start.lstrip(b">").startswith(b"From "):
        return MAILBOX_LINE
    if not start or start.startswith((b"\n", b"\r\n")) or begins_with_field(start):
        return b""
    return EMPTY_LINE


def begins_plainly(start: bytes) -> bool:
    """Report whether a message begins with a field whose name has only letters, digits and hyphens.

    Almost every message does: nothing need stand above it, and `gap` looks more closely only at the others.
    """
    end = start.find(b":", 0, FIRST_LINE)
    name = start[:end]
    return end > 0 and (name.isalnum() or name.replace(b"-", b"").isalnum())


def begins_with_field(start: bytes) -> bool:
    """Report whether a message begins with a header field (RFC 5322 2.2; 4.5: blanks before the colon)."""
    name, colon, _ = start[:FIRST_LINE].partition(b":")
    name = name.rstrip(b" \t")
    return bool(colon and name) and not name.translate(None, _IN_FIELD_NAMES)


def _below(head: bytes, data: bytes, head_above_gap: bytes) -> Chunks:
    # a message without headers is not copied
    return (_top(head, head_above_gap, (data,)), data) if head else (data,)


def _top(head: bytes, head_above_gap: bytes, pieces: tuple[bytes, ...]) -> bytes:
    between = gap(*pieces)
    return (head_above_gap or head) + between if between else head


def _streamed(stream: BinaryIO, head: bytes, head_above_gap: bytes) -> Iterator[bytes]:
    chunk = _read(stream)
    if head:
        while len(chunk) < FIRST_LINE and b"\n" not in chunk and (more := _read(stream)):
            chunk += more
        yield _top(head, head_above_gap, (chunk,))
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
