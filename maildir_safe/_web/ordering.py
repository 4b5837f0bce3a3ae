"""The order of messages, newest first, and what their names tell."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from itertools import groupby
from operator import eq

from maildir_safe._maildir.message_store import Message
from maildir_safe._names import arrival_time

_FEW = 200
_LONG = 19
_ORDERLY = re.compile(r"(?:[0-9]{10}\.M[0-9]{6}[^0-9])*")
_SHORT = 11
_TEN_DIGITS = re.compile(r"(?:[0-9]{10}\.)*")


def is_unread(message: Message) -> bool:
    """Whether the message is unread: it is in new/, or lacks the flag "seen"."""
    if message.subdir == "new" or message.name.endswith(":2,S"):  # the usual cases, of 100,000
        return message.subdir == "new"
    return "S" not in message.flags


def arranged(ids: list[str], come: Collection[str], gone: Collection[str]) -> list[str]:
    """A new list of ids, newest first, without those that are gone and with those that came."""
    result = [key for key in ids if key not in gone] if gone else ids.copy()
    if len(come) > _FEW:
        return newest_first([*result, *come])
    for key in come:
        this, low, high = order(key), 0, len(result)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if order(result[middle]) > this else (low, middle)
        result.insert(low, key)
    return result


def newest_first(ids: Iterable[str]) -> list[str]:
    """Sort ids by `order`, newest first.

    To take 100,000 times out of the names costs more than to list them. Most names begin with ten digits,
    a dot, and microseconds of six digits: their text alone has the right order. Names without
    microseconds, or with fewer digits there, are in the wrong order only within one second.
    """
    result = sorted(ids, reverse=True)
    if _heads(result, _ORDERLY, _LONG):
        return result
    heads = _heads(result, _TEN_DIGITS, _SHORT)
    if not heads:
        return sorted(result, key=order, reverse=True)
    if True not in map(eq, heads, heads[1:]):  # one message a second at most
        return result
    seconds = (sorted(some, key=order, reverse=True) for _, some in groupby(result, lambda key: key[:_SHORT]))
    return [key for some in seconds for key in some]


def _heads(keys: list[str], pattern: re.Pattern[str], length: int) -> list[str]:
    """The first `length` characters of every key; none if one of them does not match a pattern."""
    if not (keys and pattern.fullmatch(keys[0][:length])):
        return []
    heads = [key[:length] for key in keys]
    text = "".join(heads)
    return heads if len(text) == length * len(keys) and pattern.fullmatch(text) else []


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
