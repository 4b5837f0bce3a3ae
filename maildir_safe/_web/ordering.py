"""The order of messages, newest first, and what their names tell."""

from __future__ import annotations

from maildir_safe._maildir.message_store import Message
from maildir_safe._names import arrival_time
from maildir_safe._web.mailbox_set import Placed

_FEW = 200


def is_unread(message: Message) -> bool:
    """Whether the message is unread: it is in new/, or lacks the flag "seen"."""
    if message.subdir == "new" or message.name.endswith(":2,S"):  # the usual cases, of 100,000
        return message.subdir == "new"
    return "S" not in message.flags


def arranged(messages: list[Placed], come: set[Placed], gone: set[Placed]) -> list[Placed]:
    """A new list, newest first, without those that are gone and with those that came."""
    result = [message for message in messages if message not in gone] if gone else messages.copy()
    if len(come) > _FEW:
        result += come
        result.sort(key=lambda message: order(message.key), reverse=True)
        return result
    for message in come:
        this, low, high = order(message.key), 0, len(result)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if order(result[middle].key) > this else (low, middle)
        result.insert(low, message)
    return result


def order(key: str) -> tuple[float, str]:
    """A sort key: the order of delivery, according to the times in the names."""
    return received(key), key


def received(key: str) -> float:
    """The time of delivery in the message's name, in seconds since 1970; 0 if the name has none.

    Times have at most ten digits, that is up to the year 2286, so every one is a valid date.
    """
    seconds, micros = arrival_time(key) or (0, 0)
    if seconds >= 10**10:
        return 0.0
    return seconds + (micros / 1e6 if micros < 10**6 else 0.0)


def printable(name: str) -> str:
    """Make a file name or path printable: bytes that are not UTF-8 become escapes."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()
