"""The parts of a message, for people: the tree of them, those that a browser may show, and messages inside.

GET /message/KEY/part/NUMBER
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from maildir_safe._mail.charsets import decode
from maildir_safe._mail.html import image_type
from maildir_safe._mail.message import describe, find_part
from maildir_safe._mail.structure import Part, Structure
from maildir_safe._web.answers import saved_as
from maildir_safe._web.inbox import MOST_READ, Inbox
from maildir_safe._web.parameters import Query, bad

_MOST_LISTED = 500
_MOST_IMAGE = 20 << 20
_MOST_TEXT = 2 << 20
_POLICY = {"Content-Security-Policy": "sandbox; default-src 'none'"}
# Chromium's viewer does not start in a sandbox. It gives a document's scripts no page to reach
_POLICY_OF_PDF = {"Content-Security-Policy": "default-src 'none'"}
DEEPEST = 10
"""Most messages inside one another that are opened."""
_MESSAGES = ("message/rfc822", "message/global")
_WAY = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4}){0,9}")


@dataclass(frozen=True, slots=True)
class Way:
    """The way from a message to one inside it.

    Attributes:
        numbers: the number of each attached message in the one around it; empty: the message itself.
    """

    numbers: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)

    def __str__(self) -> str:
        return ".".join(map(str, self.numbers))

    @property
    def outer(self) -> Way:
        """The way to the message around this one."""
        return Way(self.numbers[:-1])

    def to(self, number: int) -> Way:
        """The way to a message that is attached to this one."""
        return Way((*self.numbers, number))

    def message(self, raw: bytes) -> bytes:
        """The message at the end of the way, at most 64 MiB of it. Raises KeyError if there is none."""
        for number in self.numbers:
            part = find_part(raw, number)
            if part.content_type not in _MESSAGES:
                raise KeyError(number)
            raw = part.beginning(raw, MOST_READ)
        return raw


def way_of(query: Query) -> Way:
    """The way that the parameter `inside` gives. Raises HTTPException: 400."""
    text = query.text("inside")
    if text and not _WAY.fullmatch(text):
        raise bad(f"inside: {text[:100]!r} is not up to {DEEPEST} numbers of parts with dots between them")
    return Way(tuple(map(int, text.split("."))) if text else ())


@dataclass(slots=True)
class Branch:
    """A part in the tree.

    Attributes:
        number: the number by which it is requested.
        depth: how many parts it is inside.
        content_type: its type.
        name: the name that the sender chose, or one for people; ``""``: it contains other parts.
        size: bytes after decoding; None: it contains other parts.
    """

    number: int
    depth: int
    content_type: str
    name: str
    size: int | None


def tree(raw: bytes) -> list[Branch]:
    """The parts of a message in their order, the first 500."""
    return [_branch(raw, part) for part in Structure(raw).parts[:_MOST_LISTED]]


def _branch(raw: bytes, part: Part) -> Branch:
    depth, above = 0, part.parent
    while above is not None:
        depth, above = depth + 1, above.parent
    if part.is_multipart:
        return Branch(part.number, depth, part.content_type, "", None)
    about = describe(raw, part)
    return Branch(part.number, depth, part.content_type, about.name, about.size)


def kind_of(content_type: str) -> str:
    """How a browser may show a part of this type.

    ``"image"``, ``"pdf"``, ``"message"`` (as a message), ``"text"``, or ``""``: not at all.
    """
    if image_type(content_type, b""):
        return "image"
    if content_type == "application/pdf":
        return "pdf"
    if content_type in _MESSAGES:
        return "message"
    return "text" if content_type.startswith(("text/", "message/")) else ""


async def show_part(request: Request) -> Response:
    """Show an image, a PDF, or the text of a part as plain text, whatever its type says; or save a part."""
    query = Query(request, "inside", "save")
    inbox: Inbox = request.app.state.inbox
    way, save = way_of(query), "save" in query
    message = await inbox.find(request.path_params["key"])
    number = request.path_params["number"]
    wanted = int(number) if number.isdecimal() and len(number) < 10 else -1

    def find(raw: bytes) -> tuple[bytes, str, dict[str, str]]:
        raw = way.message(raw)
        part = find_part(raw, wanted)
        return _saved(raw, part) if save else _shown(raw, part)

    answer: Response = request.app.state.response_budget.content(*await inbox.parse(message.key, find))
    return answer


def _saved(raw: bytes, part: Part) -> tuple[bytes, str, dict[str, str]]:
    name = describe(raw, part).name
    return part.beginning(raw, MOST_READ), "application/octet-stream", saved_as(name)


def _shown(raw: bytes, part: Part) -> tuple[bytes, str, dict[str, str]]:
    """A part's bytes, type and headers. Raises KeyError: a browser may not show it."""
    kind = kind_of(part.content_type)
    if kind == "image":
        return part.beginning(raw, _MOST_IMAGE), part.content_type, _POLICY
    if kind == "pdf":
        content = part.beginning(raw, MOST_READ)
        if b"%PDF-" in content[:1024]:
            return content, part.content_type, _POLICY_OF_PDF
    if kind in ("text", "message"):
        text = decode(part.beginning(raw, _MOST_TEXT), part.parameters.get("charset", ""))
        return text.encode("utf-8", "replace"), "text/plain; charset=utf-8", _POLICY
    raise KeyError(part.number)


ROUTES = [Route("/message/{key}/part/{number}", show_part)]
