"""The states of an item and of its recipients.

The state of an item is the directory of its file (`ITEM_STATES`; `store/spool.py` lists the moves).
The file's name ends with one letter per recipient (`RECIPIENT_STATES`):

    from        to          when
    ----------+-----------+----------------------------------------------------------------------------
    owed        owed        the courier returned 4xx or an invalid status: retried later
    owed        delivered   the courier returned 2xx, or the item was moved into the recipient's Maildir
    owed        report due  the same, and the sender asked for a report of success (`Dsn`)
    owed        bounce due  the courier returned 5xx, or the time for attempts is over (`Schedule`)
    report due  delivered   the report was sent
    bounce due  bounced     the bounce was sent, or the item has the null sender
    bounce due  owed        an operator asked for another attempt (`queue retry`)
    bounced     owed        the same

`TRANSITIONS` is this table as data; `check_transitions` enforces it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    ItemState = Literal["pending", "claimed", "hold", "failed", "corrupt"]

ITEM_STATES: tuple[ItemState, ...] = ("pending", "claimed", "hold", "failed", "corrupt")
"""The directories of the spool that an item can be in."""

OWED = "o"
"""The recipient does not have the message yet."""

DELIVERED = "d"
"""The recipient has the message."""

BOUNCE_DUE = "f"
"""The recipient was given up, and the bounce has not been sent yet."""

BOUNCED = "b"
"""The recipient was given up, and the bounce was sent or there is no sender to send it to."""

REPORT_DUE = "s"
"""The recipient has the message, and the report of success has not been sent yet."""

RECIPIENT_STATES = {
    OWED: "owed",
    DELIVERED: "delivered",
    BOUNCE_DUE: "bounce_due",
    BOUNCED: "bounced",
    REPORT_DUE: "report_due",
}
"""The states of one recipient of an item: the letter in the item's name, and the state's name."""

LETTERS = "".join(RECIPIENT_STATES)

TRANSITIONS = {
    OWED: frozenset({OWED, DELIVERED, BOUNCE_DUE, REPORT_DUE}),
    DELIVERED: frozenset({DELIVERED}),
    BOUNCE_DUE: frozenset({BOUNCE_DUE, BOUNCED, OWED}),
    BOUNCED: frozenset({BOUNCED, OWED}),
    REPORT_DUE: frozenset({REPORT_DUE, DELIVERED}),
}


def has_report_due(states: str) -> bool:
    """Whether the sender is to be told something: of a failure, or of a success."""
    return BOUNCE_DUE in states or REPORT_DUE in states


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
            raise ValueError(f"a recipient that is {RECIPIENT_STATES[old].upper()} cannot become {new!r}")
