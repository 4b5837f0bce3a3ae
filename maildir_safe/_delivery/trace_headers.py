"""The headers that record a delivery: they are written on top of a message and read back from it.

They are Return-Path, X-Original-To and Delivered-To. Whoever accepts a message from a client adds Received,
and makes its parts by `client_name` and `date`.
"""

from __future__ import annotations

import time

from maildir_safe._delivery.content import gap
from maildir_safe.errors import PermanentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

HEADER = 128 << 10
"""The most bytes of a header that are examined: deliveries add their headers on top."""

_IN_NAMES = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:[]-")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def trace_headers(
    sender: str | None = None, recipient: str | None = None, original_recipient: str | None = None
) -> bytes:
    """Return the headers Return-Path, X-Original-To and Delivered-To for the addresses given (RFC 5321, 4.4).

    An empty sender is the null sender of a bounce: ``Return-Path: <>``. An empty recipient counts as
    none: a mail server may set its variable to nothing. Angle brackets around an address are dropped.

    Raises:
        PermanentError: an address contains a control character, which could inject another header.
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
    """Return one ``Delivered-To`` line for each recipient. Raises the errors of `trace_headers`."""
    return b"".join(_line("Delivered-To", bare(checked_address("recipient", who))) for who in recipients)


def checked_address(what: str, address: str) -> str:
    """Return the address if it is safe in a header line.

    Args:
        what: the role of the address, for the error: ``"sender"``, ``"recipient"`` and so on.

    Raises:
        PermanentError: it contains a control character, which could inject another header.
    """
    if not address.isprintable() and any(
        ord(c) < 32 or ord(c) in (127, 0x85, 0x2028, 0x2029) for c in address
    ):
        error = PermanentError(f"the {what} address {address!r} holds a control character")
        error.status = "5.1.7" if what == "sender" else "5.1.3"
        raise error
    return address


def bare(address: str) -> str:
    """Return the address without the angle brackets that some mail servers leave around it."""
    return address[1:-1] if address.startswith("<") and address.endswith(">") else address


def client_name(name: str) -> str:
    """A HELO, EHLO or LHLO name, cut to 255 characters, with every unsafe character replaced by ``?``."""
    return "".join(c if c in _IN_NAMES else "?" for c in name[:255])


def date(seconds: float) -> str:
    """A date for a header (RFC 5322 3.3), in UTC, and in English in every locale."""
    t = time.gmtime(seconds)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday} {_MONTHS[t.tm_mon - 1]} {t.tm_year} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} +0000"
    )


def _line(name: str, value: str) -> bytes:
    return f"{name}: {value}\n".encode("utf-8", "surrogateescape")


class TraceHeader:
    """The trace headers that earlier deliveries have left in a message.

    A header above the first ``Received:`` was added by the mail server that runs us (Postfix's local(8),
    pipe(8) with flags DOR, qmail's preline) for the present delivery. Such a header is not added again,
    and a ``Delivered-To:`` there is not a loop. A ``Delivered-To:`` further down is a loop. A message
    without any ``Received:`` did not come from a mail server, so that none of its headers is from one.

    Args:
        start: the message or its beginning, with LF line ends; `HEADER` bytes of it are examined.
    """

    def __init__(self, start: bytes) -> None:
        # a message that begins otherwise has no header: see `content.gap`
        header = b"" if gap(start) == b"\n" or start[:1] == b"\n" else start[:HEADER].partition(b"\n\n")[0]
        unfolded = header.replace(b"\n ", b" ").replace(b"\n\t", b" ")
        fields = [_field(line) for line in unfolded.split(b"\n")]
        names = [name for name, _ in fields]
        first_hop = names.index(b"received") if b"received" in names else 0
        self._put_on_top = names[:first_hop]
        self._delivered_to = {
            _address(value) for name, value in fields[first_hop:] if name == b"delivered-to"
        }

    def has(self, name: bytes) -> bool:
        """Report whether the mail server has already put this header (lower-case name) on top."""
        return name in self._put_on_top

    def loops(self, recipient: str) -> bool:
        """Report whether the message was delivered to this address before."""
        return _address(recipient.encode("utf-8", "surrogateescape")) in self._delivered_to


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.rstrip().lower(), value


def _address(text: bytes) -> bytes:
    """Return an address in the form used for comparison: lower case, no white space, no angle brackets."""
    bare = b"".join(text.lower().split())
    return bare[1:-1] if bare.startswith(b"<") and bare.endswith(b">") else bare
