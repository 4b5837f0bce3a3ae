"""The parts of a message, for people: the tree of them, and those that a browser may show by itself.

GET /message/KEY/part/NUMBER
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from maildir_safe._mail.charsets import decode
from maildir_safe._mail.html import image_type
from maildir_safe._mail.message import describe
from maildir_safe._mail.structure import Part, Structure
from maildir_safe._web.inbox import Inbox
from maildir_safe._web.parameters import Query

_MOST_LISTED = 500
_MOST_IMAGE = 20 << 20
_MOST_TEXT = 2 << 20
_POLICY = {"Content-Security-Policy": "sandbox; default-src 'none'"}


@dataclass(slots=True)
class Branch:
    """A part in the tree.

    Attributes:
        number: the number by which it is requested.
        depth: how many parts it is inside.
        content_type: its type.
        name: the name that the sender chose, or one for people; ``""``: it contains other parts.
        size: bytes after decoding; None: it contains other parts.
        shown: whether the browser may show it: ``"image"``, ``"text"`` or ``""``.
    """

    number: int
    depth: int
    content_type: str
    name: str
    size: int | None
    shown: str


def tree(raw: bytes) -> list[Branch]:
    """The parts of a message in their order, the first 500."""
    return [_branch(raw, part) for part in Structure(raw).parts[:_MOST_LISTED]]


def _branch(raw: bytes, part: Part) -> Branch:
    depth, above = 0, part.parent
    while above is not None:
        depth, above = depth + 1, above.parent
    if part.is_multipart:
        return Branch(part.number, depth, part.content_type, "", None, "")
    about = describe(raw, part)
    return Branch(part.number, depth, part.content_type, about.name, about.size, kind_of(part.content_type))


def kind_of(content_type: str) -> str:
    """How a browser may show a part of this type: ``"image"``, ``"text"``, or ``""``: not at all."""
    if image_type(content_type, b""):
        return "image"
    return "text" if content_type.startswith(("text/", "message/")) else ""


async def show_part(request: Request) -> Response:
    """Show an image, or the text of a part as plain text, whatever its type says."""
    Query(request)
    inbox: Inbox = request.app.state.inbox
    message = await inbox.find(request.path_params["key"])
    number = request.path_params["number"]
    wanted = int(number) if number.isdecimal() and len(number) < 10 else -1

    def find(raw: bytes) -> tuple[bytes, str]:
        part = next((one for one in Structure(raw).leaves() if one.number == wanted), None)
        kind = kind_of(part.content_type) if part else ""
        if part is None or not kind:
            raise KeyError(number)
        if kind == "image":
            return part.beginning(raw, _MOST_IMAGE), part.content_type
        text = decode(part.beginning(raw, _MOST_TEXT), part.parameters.get("charset", ""))
        return text.encode("utf-8", "replace"), "text/plain; charset=utf-8"

    content, content_type = await inbox.parse(message.key, find)
    answer: Response = request.app.state.response_budget.content(content, content_type, _POLICY)
    return answer


ROUTES = [Route("/message/{key}/part/{number}", show_part)]
