"""The headers that record a delivery: written on top of a message, and read back from one.

Return-Path, X-Original-To and Delivered-To; a `Received` is the SMTP server's, which writes it.
"""

from __future__ import annotations

from maildir_safe.errors import PermanentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

HEADER = 128 << 10
"""Bytes up to which a header is looked at: what deliveries add stands on top."""


def trace_headers(
    sender: str | None = None, recipient: str | None = None, original_recipient: str | None = None
) -> bytes:
    """Return-Path, X-Original-To and Delivered-To, as far as they are known (RFC 5321 section 4.4).

    An empty sender is the null sender of a bounce: ``Return-Path: <>``. An empty recipient is none:
    a mail server sets its variable and leaves it empty. Angle brackets around an address are dropped.

    Raises:
        PermanentError: an address holds a control character, which would begin a header of its own.
    """
    if sender is recipient is original_recipient is None:
        return b""
    head = b""
    if sender is not None:
        head = _line("Return-Path", f"<{bare(checked_address('sender', sender))}>")
    if original_recipient:
        head += _line("X-Original-To", bare(checked_address("original recipient", original_recipient)))
    return head + delivered_to([recipient] if recipient else [])


def delivered_to(recipients: Iterable[str]) -> bytes:
    """One ``Delivered-To`` line for each recipient. Raises as `trace_headers`."""
    return b"".join(_line("Delivered-To", bare(checked_address("recipient", who))) for who in recipients)


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


def bare(address: str) -> str:
    """The address without angle brackets around it, which some mail servers pass on."""
    return address[1:-1] if address.startswith("<") and address.endswith(">") else address


def _line(name: str, value: str) -> bytes:
    return f"{name}: {value}\n".encode("utf-8", "surrogateescape")


class TraceHeader:
    """What deliveries before this one have left in a message's header.

    A header that stands above the first ``Received:`` was put there by the mail server that runs us
    (Postfix's local(8) and pipe(8) flags DOR, preline of qmail), for this very delivery: it is not
    put there twice, and a ``Delivered-To:`` there is no loop. Further down, it is one. A message
    without any ``Received:`` came from no mail server, so that nothing in it is ours.

    Args:
        start: the message or its beginning, lines ending in LF; `HEADER` bytes of it are looked at.
    """

    def __init__(self, start: bytes) -> None:
        # a message that begins with a blank has no header: see `content.gap`
        header = b"" if start[:1] in (b"\n", b" ", b"\t") else start[:HEADER].partition(b"\n\n")[0]
        unfolded = header.replace(b"\n ", b" ").replace(b"\n\t", b" ")
        fields = [_field(line) for line in unfolded.split(b"\n")]
        names = [name for name, _ in fields]
        first_hop = names.index(b"received") if b"received" in names else 0
        self._put_on_top = names[:first_hop]
        self._delivered_to = {
            _address(value) for name, value in fields[first_hop:] if name == b"delivered-to"
        }

    def has(self, name: bytes) -> bool:
        """Whether the mail server has put this header (lower-case name) on top already."""
        return name in self._put_on_top

    def loops(self, recipient: str) -> bool:
        """Whether the message was delivered to this address before."""
        return _address(recipient.encode("utf-8", "surrogateescape")) in self._delivered_to


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.rstrip().lower(), value


def _address(text: bytes) -> bytes:
    """An address as it is compared: in lower case, without white space and angle brackets around it."""
    bare = b"".join(text.lower().split())
    return bare[1:-1] if bare.startswith(b"<") and bare.endswith(b">") else bare
