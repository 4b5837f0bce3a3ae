"""Reads the name of an item, which `item` describes. Apart from it, since a put reads none. Pure."""

from __future__ import annotations

import re

from maildir_safe._queue.store.item import MAX_RECIPIENTS, Item
from maildir_safe._queue.store.states import LETTERS

# Numbers have exactly the form that `Item` writes, so that an item's name is the name it was parsed from.
# Their length is limited, so that a forged name cannot make a worker count to 10^30. An id is printable
# ASCII, as `host_token` makes it: it is shown, logged, and given to couriers.
_NAME = re.compile(
    r"((?:0|[1-9][0-9]{0,10})(?:\.[!-+.-~-]{0,80})?),S=(0|[1-9][0-9]{0,14}),g(0|[1-9][0-9]{0,8})"
    rf",t(0|[1-9][0-9]{{0,8}}),n(0|[1-9][0-9]{{0,10}}),([{LETTERS}]{{1,{MAX_RECIPIENTS}}})"
)

_SHAPE = re.compile(r"[0-9]+(?:\.[^,]*)?,S=[0-9]+,g[0-9]+,t[0-9]+,n[0-9]+,[a-z]+")


def parse(name: str) -> Item | None:
    """The item with this name; None if it is not the name of an item."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    ident, size, gen, tries, not_before, states = match.groups()
    return Item(ident, int(size), int(gen), int(tries), int(not_before), states, name)


def is_absurd(name: str) -> bool:
    """Whether a name looks like an item's but is invalid, so that it must be forged."""
    return parse(name) is None and _SHAPE.fullmatch(name) is not None
