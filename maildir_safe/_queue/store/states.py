"""The states of an item and of its recipients: every one of them is named here, once.

Where an item's file lies is the state of the item (`ITEM_STATES`; the moves stand in `store/spool.py`).
Its name ends with one letter for each recipient (`RecipientState`):

    from        to          when
    ----------+-----------+----------------------------------------------------------------------------
    owed        owed        the courier said 4xx, or nothing that makes sense: it is tried again later
    owed        delivered   the courier said 2xx, or the item was moved into the recipient's Maildir
    owed        failed      the courier said 5xx, or the item was tried for too long (`Schedule`)
    failed      bounced     the sender was told, or there is nobody to tell
    failed      owed        an operator asked for another try (`queue retry`)
    bounced     owed        the same

`TRANSITIONS` is this table as data; `check_transitions` is where the code executes it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, get_args

ItemState = Literal["pending", "claimed", "hold", "failed", "corrupt"]
"""The directory of the spool that an item lies in."""

ITEM_STATES: tuple[ItemState, ...] = get_args(ItemState)


class RecipientState(StrEnum):
    """What is known of one recipient of an item; the value is the letter in the item's name."""

    OWED = "o"
    """The recipient has not been given the message yet."""
    DELIVERED = "d"
    """The recipient has it."""
    BOUNCE_DUE = "f"
    """Given up, and the sender has not been told yet."""
    BOUNCED = "b"
    """Given up, and the sender was told, or there is nobody to tell."""


OWED, DELIVERED, BOUNCE_DUE, BOUNCED = RecipientState

LETTERS = "".join(RecipientState)

TRANSITIONS: dict[str, frozenset[RecipientState]] = {
    OWED: frozenset({OWED, DELIVERED, BOUNCE_DUE}),
    DELIVERED: frozenset({DELIVERED}),
    BOUNCE_DUE: frozenset({BOUNCE_DUE, BOUNCED, OWED}),
    BOUNCED: frozenset({BOUNCED, OWED}),
}


def check_transitions(before: str, after: str) -> None:
    """Refuse a change of recipients' states that the table does not have.

    Args:
        before, after: a letter for each recipient, in the envelope's order.

    Raises:
        ValueError: it is no such change; says which.
    """
    if len(before) != len(after) or after.strip(LETTERS):
        raise ValueError(f"one of the letters {', '.join(LETTERS)} for each recipient, not {after!r}")
    for old, new in zip(before, after, strict=True):
        if new not in TRANSITIONS[old]:
            raise ValueError(f"a recipient that is {RecipientState(old).name} cannot become {new!r}")
