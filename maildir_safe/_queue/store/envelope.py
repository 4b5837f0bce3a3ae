"""The envelope of an item: trace headers on top of its message.

    Return-Path: <sender>
    Delivered-To: recipient            one line per recipient, in the order of the name's letters

So the file of an item for one local recipient is already a complete file for a Maildir. The number of
letters in the item's name tells where the envelope ends, so a message that itself begins with such lines
is not ambiguous.

A message that does not begin with a header field needs something between it and these lines once it is in
a Maildir (`maildir_safe._delivery.content.gap`). It is written with the item, so that one rename still
delivers it. Return-Path with two blanks says so, and whoever reads the message leaves it out:

    Return-Path:  <sender>
    Delivered-To: recipient
                                       an empty line, or ``X-Mailbox-Line: `` before the first line

What the sender asks for about reports (`Dsn`) stands below the recipients. Two more blanks in Return-Path,
three or four, say so. A message that itself begins with such lines is not ambiguous:

    Return-Path:   <sender>
    Delivered-To: recipient
    X-DSN: RET=HDRS ENVID=QQ314159     about the message; ``-`` if nothing is asked for
    X-DSN: NOTIFY=NEVER                one line per recipient
"""

from __future__ import annotations

from maildir_safe._delivery.content import EMPTY_LINE, MAILBOX_LINE, begins_plainly, chunks
from maildir_safe._delivery.trace_headers import bare, checked_address
from maildir_safe._queue.store.item import MAX_RECIPIENTS
from maildir_safe._queue.store.states import BOUNCE_DUE, DELIVERED, OWED, REPORT_DUE
from maildir_safe.errors import PermanentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import BinaryIO

    from maildir_safe._delivery.content import Chunks, Content
    from maildir_safe._delivery.dsn import Dsn
    from maildir_safe._delivery.status import RecipientStatus

_LONGEST_LINE = 8192
_SMALL = 1 << 14  # bytes of a message that is copied at once, which is cheaper than to join it later
_DSN = "X-DSN: "
_APART, _WITH_DSN = 1, 2  # blanks in Return-Path beyond the first
LONGEST_HEAD = 2 * (1 + MAX_RECIPIENTS) * _LONGEST_LINE
"""Most bytes of an envelope."""


class Unreadable(ValueError):
    """The file does not begin with the envelope that its name calls for."""


class Envelope:
    """The sender and the recipients of a message.

    Attributes:
        sender: ``""`` is the null sender of bounces, to which no bounce is sent.
        recipients: in the order of the letters.
        states: one letter per recipient; see `maildir_safe._queue.store.states`.
        dsn: the reports that the sender asks for; None if the sender did not say.
    """

    __slots__ = ("dsn", "recipients", "sender", "states")

    def __init__(self, sender: str, recipients: tuple[str, ...], states: str, dsn: Dsn | None = None) -> None:
        self.sender = sender
        self.recipients = recipients
        self.states = states
        self.dsn = dsn

    def __repr__(self) -> str:
        return f"Envelope({self.sender!r}, {self.recipients!r}, {self.states!r})"

    @property
    def owed(self) -> tuple[str, ...]:
        """The recipients who are still owed the message."""
        return self.in_state(OWED)

    def in_state(self, letter: str) -> tuple[str, ...]:
        """The recipients with this letter."""
        return tuple(who for who, state in zip(self.recipients, self.states, strict=True) if state == letter)

    def wants(self, recipient: str, what: str) -> bool:
        """Whether the sender is to be told of `dsn.SUCCESS`, `FAILURE` or `DELAY` of a recipient."""
        if not self.sender:
            return False
        return what != "SUCCESS" if self.dsn is None else self.dsn.wants(recipient, what)


def head(sender: str, recipients: Sequence[str]) -> bytes:
    """The lines that go on top of the message.

    Raises:
        ValueError: no recipient, or more than 50.
        PermanentError: an address has a control character, or is too long.
    """
    if not 1 <= len(recipients) <= MAX_RECIPIENTS:
        raise ValueError(f"an item has 1 to {MAX_RECIPIENTS} recipients, not {len(recipients)}; see `groups`")
    addresses = sender + "".join(recipients)
    if not addresses.isprintable():
        checked_address("sender", sender)
        for recipient in recipients:
            checked_address("recipient", recipient)
    if "<" in addresses:
        sender, recipients = bare(sender), [*map(bare, recipients)]
    all_ = "\nDelivered-To: ".join(recipients)
    data = f"Return-Path: <{sender}>\nDelivered-To: {all_}\n".encode("utf-8", "surrogateescape")
    if len(data) > _LONGEST_LINE and max(map(len, data.split(b"\n"))) >= _LONGEST_LINE - 1:  # the blank
        raise PermanentError(f"an address has more than {_LONGEST_LINE} bytes")
    return data


def below(sender: str, recipients: Sequence[str], message: Content, dsn: Dsn | None = None) -> Chunks:
    """Return the content of an item: the envelope, and the message below. Raises as `head` and `chunks`."""
    lines = head(sender, recipients)
    if dsn:
        lines = lines.replace(b" ", b"   ", 1) + b"".join(
            f"{_DSN}{line}\n".encode() for line in dsn.lines(recipients)
        )
    if isinstance(message, bytes) and begins_plainly(message):
        return (lines + message,) if len(message) <= _SMALL else (lines, message)
    return chunks(message, lines, head_above_gap=lines.replace(b" ", b"  ", 1))


def read(file: BinaryIO, states: str) -> Envelope:
    """Read the envelope; the file then stands at the message's first byte.

    Args:
        states: the letters of the item's name.

    Raises:
        Unreadable: the file does not begin with an envelope for that many recipients.
        OSError: the file cannot be read.
    """
    line = _line(file, "Return-Path: ")
    sender = line.lstrip(" ")
    blanks = len(line) - len(sender)  # beyond the first
    if blanks > _APART + _WITH_DSN or not (sender.startswith("<") and sender.endswith(">")):
        raise Unreadable("Return-Path without angle brackets")
    recipients = tuple(_line(file, "Delivered-To: ") for _ in states)
    dsn = _read_dsn(file, recipients) if blanks & _WITH_DSN else None
    if blanks & _APART:
        _skip_gap(file)
    return Envelope(sender[1:-1], recipients, states, dsn)


def states_after(envelope: Envelope, statuses: Mapping[str, RecipientStatus], last: bool) -> str:
    """The letters of an item after an attempt.

    Args:
        statuses: of the recipients who were owed the message.
        last: who does not have it now is given up.
    """
    letters = []
    for recipient, state in zip(envelope.recipients, envelope.states, strict=True):
        status = statuses.get(recipient) if state == OWED else None
        if status is None:
            pass
        elif status.done:
            tell = envelope.wants(recipient, "SUCCESS") and not status.reported
            state = REPORT_DUE if tell else DELIVERED
        elif status.permanent or last:
            state = BOUNCE_DUE
        letters.append(state)
    return "".join(letters)


def groups(recipients: Sequence[str], each: bool = False) -> list[list[str]]:
    """Group recipients into items.

    Args:
        each: one item per recipient, as delivery into Maildirs needs it; else one per domain, so that a
            failing domain does not hold up mail to others.
    """
    together: dict[str, list[str]] = {}
    for recipient in recipients:
        key = recipient if each else recipient.rpartition("@")[2].lower()
        together.setdefault(key, []).append(recipient)
    step = 1 if each else MAX_RECIPIENTS
    return [all_[at : at + step] for all_ in together.values() for at in range(0, len(all_), step)]


def _read_dsn(file: BinaryIO, recipients: tuple[str, ...]) -> Dsn:
    from maildir_safe._delivery.dsn import parse

    lines = [_line(file, _DSN) for _ in range(1 + len(recipients))]
    try:
        return parse(lines, recipients)
    except ValueError as error:  # as for an address: it would go into a relay's dialogue
        raise Unreadable(str(error)) from None


def _skip_gap(file: BinaryIO) -> None:
    if (start := file.read(1)) != EMPTY_LINE and start + file.read(len(MAILBOX_LINE) - 1) != MAILBOX_LINE:
        raise Unreadable("nothing between envelope and message where Return-Path promises it")


def _line(file: BinaryIO, field: str) -> str:
    line = file.readline(_LONGEST_LINE).decode("utf-8", "surrogateescape")
    if not (line.startswith(field) and line.endswith("\n")):
        raise Unreadable(f"no {field.strip()} where the name promises one")
    address = line[len(field) : -1]
    try:
        return checked_address("envelope's", address)
    except PermanentError as error:  # a forged file must not inject commands into a relay's dialogue
        raise Unreadable(str(error)) from None
