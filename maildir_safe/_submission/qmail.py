"""The message and the envelope as qmail-queue(8) reads them, from descriptors 0 and 1."""

from __future__ import annotations

from maildir_safe._submission import Rejected, stdin
from maildir_safe._submission.fields import split
from maildir_safe._submission.mailbox_list import MOST_RECIPIENTS, complete_address
from maildir_safe._submission.spool import MAX_HOPS
from maildir_safe.errors import TemporaryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_LONGEST_ADDRESS = 1000  # bytes, as in qmail-queue
_MOST_BYTES = MOST_RECIPIENTS * (_LONGEST_ADDRESS + 2)
_PER_RECIPIENT = "-@[]"  # ends a sender that gets the recipient's address put in (VERP)
_DOUBLE_BOUNCE = "#@[]"  # the sender of a bounce of a bounce: nobody may be sent another


class Malformed(Rejected):
    """The envelope does not have qmail's format."""


class TooLong(Rejected):
    """An address of the envelope is too long."""


def read_message(size_limit: int) -> bytes:
    """Read the message from descriptor 0.

    Args:
        size_limit: most bytes.

    Raises:
        Rejected: the message is too large, or it loops.
        TemporaryError: it cannot be read, or is empty.
    """
    message = stdin.read_message(_descriptor(0), size_limit)
    hops = sum(field.name == b"received" for field in split(message)[0])
    if hops >= MAX_HOPS:
        raise Rejected(f"the message loops: it has {hops} Received fields")
    return message


def read_envelope() -> tuple[str, list[str]]:
    """Read the envelope from descriptor 1: the sender and the recipients.

    Raises:
        Malformed: it is cut off, has no recipient, or is not an envelope.
        TooLong: an address has more than 1,000 bytes.
        Rejected: there are more than `MOST_RECIPIENTS` recipients.
        TemporaryError: it cannot be read.
    """
    file = _descriptor(1)
    data = bytearray()
    try:
        while not data.endswith(b"\0\0") and len(data) <= _MOST_BYTES:
            chunk = file.read(1 << 16)
            if not chunk:
                break
            data += chunk
    except OSError as error:
        raise TemporaryError(f"the envelope cannot be read: {error.strerror}") from error
    return _parsed(bytes(data))


def envelopes(sender: str, recipients: list[str], domain: str) -> list[tuple[str, list[str]]]:
    """The senders, each with its recipients: one pair, or with VERP one for each recipient.

    Args:
        sender: as `read_envelope` returns it.
        recipients: as `read_envelope` returns them.
        domain: completes addresses without a domain.

    Raises:
        Rejected: an address is not one that can exist.
    """
    whole = [complete_address(recipient, domain) for recipient in dict.fromkeys(recipients)]
    if sender in ("", _DOUBLE_BOUNCE):
        return [("", whole)]
    local, _, host = sender.removesuffix(_PER_RECIPIENT).rpartition("@")
    if sender.endswith(_PER_RECIPIENT) and local:
        return [(_with_recipient(local, host, recipient), [recipient]) for recipient in whole]
    return [(complete_address(sender, domain), whole)]


def _with_recipient(local: str, host: str, recipient: str) -> str:
    name, _, domain = recipient.rpartition("@")
    return complete_address(f"{local}{name}={domain}@{host}", host)


def _descriptor(number: int) -> BinaryIO:
    try:
        return open(number, "rb", buffering=0, closefd=False)
    except OSError as error:
        raise TemporaryError(f"descriptor {number} cannot be read: {error.strerror}") from error


def _parsed(data: bytes) -> tuple[str, list[str]]:
    words = data.split(b"\0")
    if max(map(len, words)) > _LONGEST_ADDRESS + 1:
        raise TooLong(f"an address of the envelope has more than {_LONGEST_ADDRESS} bytes")
    if len(words) > MOST_RECIPIENTS + 3 or len(data) > _MOST_BYTES:
        raise Rejected(f"there are more than {MOST_RECIPIENTS} recipients")
    if words[-2:] != [b"", b""] or words[0][:1] != b"F":
        raise Malformed("the envelope is not F SENDER NUL, T RECIPIENT NUL ..., NUL")
    sender, *recipients = words[:-2]
    if not recipients or any(word[:1] != b"T" for word in recipients):
        raise Malformed("the envelope needs at least one recipient, and nothing else after the sender")
    return _text(sender), [_text(word) for word in recipients]


def _text(word: bytes) -> str:
    return word[1:].decode("utf-8", "surrogateescape")
