"""The states of an item and of its recipients.

The state of an item is the directory of its file (`ITEM_STATES`; `store/spool.py` lists the moves).
The file's name ends with one letter per recipient (`RecipientState`):

    from        to          when
    ----------+-----------+----------------------------------------------------------------------------
    owed        owed        the courier returned 4xx or an invalid status: retried later
    owed        delivered   the courier returned 2xx, or the item was moved into the recipient's Maildir
    owed        bounce due  the courier returned 5xx, or the time for attempts is over (`Schedule`)
    bounce due  bounced     the bounce was sent, or the item has the null sender
    bounce due  owed        an operator asked for another attempt (`queue retry`)
    bounced     owed        the same

`TRANSITIONS` is this table as data; `check_transitions` enforces it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, get_args

ItemState = Literal["pending", "claimed", "hold", "failed", "corrupt"]
"""The directory of the spool that an item is in."""

ITEM_STATES: tuple[ItemState, ...] = get_args(ItemState)


class RecipientState(StrEnum):
    """The state of one recipient of an item; the value is the letter in the item's name."""

    OWED = "o"
    """The recipient does not have the message yet."""
    DELIVERED = "d"
    """The recipient has the message."""
    BOUNCE_DUE = "f"
    """The recipient was given up, and the bounce has not been sent yet."""
    BOUNCED = "b"
    """The recipient was given up, and the bounce was sent or there is no sender to send it to."""


OWED, DELIVERED, BOUNCE_DUE, BOUNCED = RecipientState

LETTERS = "".join(RecipientState)

TRANSITIONS: dict[str, frozenset[RecipientState]] = {
    OWED: frozenset({OWED, DELIVERED, BOUNCE_DUE}),
    DELIVERED: frozenset({DELIVERED}),
    BOUNCE_DUE: frozenset({BOUNCE_DUE, BOUNCED, OWED}),
    BOUNCED: frozenset({BOUNCED, OWED}),
}


def check_transitions(before: str, after: str) -> None:
    """Refuse a change of recipients' states that the table does not allow.

    Args:
        before, after: one letter per recipient, in the envelope's order.

    Raises:
        ValueError: the change is not allowed; the text names it.
    """
    if len(before) != len(after) or after.strip(LETTERS):
        raise ValueError(f"states are one of the letters {', '.join(LETTERS)} per recipient, not {after!r}")
    for old, new in zip(before, after, strict=True):
        if new not in TRANSITIONS[old]:
            raise ValueError(f"a recipient that is {RecipientState(old).name} cannot become {new!r}")
