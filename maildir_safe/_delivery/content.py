"""A message on its way in: bytes, text, an email object or a stream, with headers on top."""

from __future__ import annotations

from maildir_safe.errors import PermanentError, TemporaryError, storage_error

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
        head: headers to put on top.

    Returns:
        A tuple, which one can go through again; of a stream an iterator, constant memory, once. Going
        through it raises TypeError if the stream gives text, and TemporaryError if it cannot be read.

    Raises:
        TypeError: this is no message.
    """
    if isinstance(content, bytes):
        return _below(head, content)
    if isinstance(content, tuple):
        return (head, *content) if head else content
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


def _below(head: bytes, data: bytes) -> Chunks:
    return (head, data) if head else (data,)  # one piece is not copied to be joined


def _streamed(stream: BinaryIO, head: bytes) -> Iterator[bytes]:
    if head:
        yield head
    while (chunk := _read(stream)) != b"":
        if chunk is None:
            raise TemporaryError("read the message: the stream is non-blocking and has nothing yet")
        if not isinstance(chunk, bytes):
            raise TypeError("the stream of a message must be binary (open it with mode 'rb')")
        yield chunk


def _read(stream: BinaryIO) -> bytes | None:
    try:
        return stream.read(_CHUNK)
    except OSError as error:
        raise storage_error("read the message", error) from error


def flatten(message: Any) -> bytes:
    """An email object as it is stored: LF line ends, its own lines left as they are."""
    import io
    from email.generator import BytesGenerator

    out = io.BytesIO()
    BytesGenerator(out, mangle_from_=False, maxheaderlen=0).flatten(message, linesep="\n")
    return out.getvalue()


def trace_headers(sender: str | None, recipient: str | None, original: str | None) -> bytes:
    """Return-Path, X-Original-To and Delivered-To, as far as they are known (RFC 5321 section 4.4).

    An empty sender is the null sender of a bounce: ``Return-Path: <>``.

    Raises:
        PermanentError: an address holds a control character, which would begin a header of its own.
    """
    if sender is recipient is original is None:
        return b""
    lines = []
    if sender is not None:
        lines.append(f"Return-Path: <{checked_address('sender', sender)}>\n")
    if original is not None:
        lines.append(f"X-Original-To: {checked_address('original recipient', original)}\n")
    if recipient is not None:
        lines.append(f"Delivered-To: {checked_address('recipient', recipient)}\n")
    return "".join(lines).encode("utf-8", "surrogateescape")


def checked_address(what: str, address: str) -> str:
    """The address, fit for a header line.

    Args:
        what: whose it is, for the error: ``"sender"`` or another.

    Raises:
        PermanentError: it holds a control character, which would begin a header of its own.
    """
    if not address.isprintable() and any(
        ord(c) < 32 or ord(c) in (127, 0x85, 0x2028, 0x2029) for c in address
    ):
        error = PermanentError(f"the {what} address {address!r} holds a control character")
        error.status = "5.1.7" if what == "sender" else "5.1.3"
        raise error
    return address
