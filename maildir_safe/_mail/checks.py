"""What a tester should know of a message before it is sent to many: hints, not errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from maildir_safe._mail.client_features import used
from maildir_safe._mail.client_support import Feature, features
from maildir_safe._mail.links import links
from maildir_safe._mail.message import Mail

CLIPPED = 102 * 1024
"""Bytes of HTML after which Gmail shows the rest only on demand."""

_MOST_IMAGES = 10_000
_MOST_TOLD = 5
_IMAGE = re.compile(r"<img\b([^<>]{0,10000})", re.IGNORECASE)
_ALT = re.compile(r"\balt\s{0,9}=", re.IGNORECASE)
_ONCE = ("date", "from", "message-id", "subject", "to")


class Check(NamedTuple):
    """One hint.

    Attributes:
        id: stable; see docs/reference/json-api.md.
        good: whether there is nothing to do.
        text: for people.
    """

    id: str
    good: bool
    text: str


def checks(mail: Mail, size: int) -> list[Check]:
    """The hints about a message.

    Args:
        mail: the message.
        size: of the message, in bytes.
    """
    return [
        *_headers(mail),
        *_body(mail),
        *_clients(mail),
        *_links(mail),
        Check("size", True, f"{size:,} bytes in all"),
    ]


def _headers(mail: Mail) -> Iterator[Check]:
    names = [name.lower() for name, _ in mail.headers]
    missing = [name.title() for name in _ONCE if name not in names]
    twice = [name.title() for name in _ONCE if names.count(name) > 1]
    text = "; ".join(
        f"{what}: {', '.join(found)}"
        for what, found in (("missing", missing), ("there twice", twice))
        if found
    )
    yield Check("headers", not text, text or "From, To, Subject, Date and Message-ID are there, once each")
    if "list-unsubscribe" not in names:
        yield Check("unsubscribe", True, "no List-Unsubscribe: mail to many needs one")
    elif "list-unsubscribe-post" not in names:
        yield Check("unsubscribe", False, "List-Unsubscribe without List-Unsubscribe-Post: not one click")
    else:
        yield Check("unsubscribe", True, "List-Unsubscribe, by one click (RFC 8058)")


def _body(mail: Mail) -> Iterator[Check]:
    if mail.html is None:
        yield Check("text", mail.text is not None, "text only" if mail.text is not None else "no body")
        return
    has_text = mail.text is not None
    yield Check(
        "text", has_text, "a text part beside the HTML" if has_text else "no text part beside the HTML"
    )
    images = [found[1] for found in islice(_IMAGE.finditer(mail.html), _MOST_IMAGES)]
    silent = sum(_ALT.search(attributes) is None for attributes in images)
    said = (
        f"{silent} of {len(images)} images without alt" if silent else f"{len(images)} images, all with alt"
    )
    yield Check("alt", not silent, said if images else "no images")
    length = len(mail.html.encode("utf-8", "replace"))
    yield Check("html-size", length <= CLIPPED, f"{length:,} bytes of HTML; Gmail clips at {CLIPPED:,}")


def clients(mail: Mail) -> list[Feature]:
    """The features of the HTML that some mail client does not support; the worst first."""
    return features(used(mail.html)) if mail.html is not None else []


def _clients(mail: Mail) -> Iterator[Check]:
    if mail.html is None:
        return
    missing = [one for one in clients(mail) if one.missing]
    told = [f"{one.title} ({', '.join(one.missing[:3])}{', …' * (len(one.missing) > 3)})" for one in missing]
    more = f" and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
    text = f"not in every major client, says caniemail.com: {', '.join(told[:_MOST_TOLD])}{more}"
    yield Check("clients", not missing, text if told else "nothing that a major client does not support")


def _links(mail: Mail) -> Iterator[Check]:
    found = links(mail)
    plain = sum(address.lower().startswith("http://") for address in found)
    yield Check("links", not plain, f"{len(found)} links, {plain} of them without TLS (none was fetched)")
