"""The links and the one-time codes in a message: what a test of a sign-up looks for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from maildir_safe._mail.html import unescaped
from maildir_safe._mail.message import Mail

MOST = 1000
"""Most links, and most codes, that are found in a message."""

# every repetition is bounded, so that no text takes long
_HREF = re.compile(
    r"\bhref\s{0,9}=\s{0,9}(?:\"([^\"]{1,2000})\"|'([^']{1,2000})'|([^\s\"'<>]{1,2000}))", re.IGNORECASE
)
_ADDRESS = re.compile(r"\bhttps?://[^\s<>\"']{1,2000}", re.IGNORECASE)
_AFTER = ".,;:!?)]}*_"  # what follows a link in a sentence, and is rarely a part of it
_CODE = re.compile(r"(?<![\w.,/=-])([0-9]{3})[ -]?([0-9]{3})(?![\w/=-])(?![.,][0-9])")


def links(mail: Mail) -> list[str]:
    """The web addresses in a message, each once: those of its HTML first, in their order.

    Args:
        mail: the message.

    Returns:
        Addresses that begin with ``http://`` or ``https://``, as a browser would open them. Nothing is
        fetched.
    """
    return _first(_links(mail))


def with_links(text: str) -> Iterator[tuple[str, bool]]:
    """A text in pieces: each with whether it is a web address."""
    at = 0
    for found in _ADDRESS.finditer(text):
        yield text[at : found.start()], False
        address = _trimmed(found[0])
        yield address, True
        at = found.start() + len(address)
    yield text[at:], False


def codes(mail: Mail) -> list[str]:
    """The numbers of six digits in a message's subject and text, each once, in their order.

    A blank or a hyphen in the middle, as in ``481 206``, is left out.
    """
    texts = (mail.summary.subject, mail.readable)
    return _first(found[1] + found[2] for text in texts for found in _CODE.finditer(text))


def _links(mail: Mail) -> Iterator[str]:
    for found in _HREF.finditer(mail.html or ""):
        address = unescaped(found[1] or found[2] or found[3]).strip()
        if address.lower().startswith(("http://", "https://")) and address.isprintable():
            yield address
    for found in _ADDRESS.finditer(f"{mail.text or ''}\n{mail.html_text}"):
        yield _trimmed(found[0])


def _trimmed(found: str) -> str:
    """An address without what follows it in a sentence."""
    address = found.rstrip(_AFTER)
    if "(" in address and found.startswith(f"{address})"):
        address += ")"  # it closes what the address has opened
    return address


def _first(found: Iterable[str]) -> list[str]:
    """The first of them, each once."""
    kept: dict[str, None] = {}
    for one in found:
        kept[one] = None
        if len(kept) >= MOST:
            break
    return list(kept)
