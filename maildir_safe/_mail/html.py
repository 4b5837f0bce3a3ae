"""The HTML of a message: decoding it, inserting its own images, and converting it to plain text."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping
from urllib.parse import unquote

from maildir_safe._mail.charsets import decode

MOST_IMAGES = 20 << 20
"""Most characters of images that are put into a page."""
_META = re.compile(rb"<meta[^<>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE)
_CID = re.compile(r"cid:([^\"'\s>)]{1,500})", re.IGNORECASE)
_SILENT = re.compile(r"<(/?)(?:style|script|head|title)\b[^<>]*>", re.IGNORECASE)
_BREAK = re.compile(r"<(?:br|/?p|/?div|/?tr|/?table|/?h[1-6]|/?li|/?ul|hr)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_TAG_SPACES = re.compile(r"[ \t\r\n]+")
_SPACES = re.compile(r"[ \t\r\f\v\xa0]+")
_LONG_NUMBER = re.compile(r"&#(?:[0-9]{8,}+|[xX][0-9a-fA-F]{8,}+);?")  # of no character
_REMOTE = re.compile(
    r"(?:\b(?:src|srcset|background|poster)\s{0,9}=|\burl\(|@import)[\s\"']{0,9}(?:https?:)?//|<link(?![a-z-])",
    re.IGNORECASE,
)
# the first bytes of the images that browsers show; SVG is missing, since it can contain scripts
_MAGIC = (
    (b"\x89PNG\r\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
)  # fmt: skip
_SHOWN = ("image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp", "image/bmp", "image/avif")


def decode_html(data: bytes, charset: str) -> str:
    """Decode HTML by the charset of the part's header, or else of its first ``<meta charset=…>``."""
    if not charset:
        meta = _META.search(data[:4096])
        charset = meta[1].decode("ascii") if meta else ""
    return decode(data, charset)


def image_type(content_type: str, data: bytes) -> str:
    """The type of an image that may be put into a page; ``""`` if the part is not such an image."""
    if content_type in _SHOWN:
        return content_type
    if content_type != "application/octet-stream":
        return ""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), "")


def with_images(page: str, images: Mapping[str, str], room: int = MOST_IMAGES) -> str:
    """Replace the ``cid:`` addresses in HTML, as far as `room` allows: a page may name one a million times.

    Args:
        page: the HTML.
        images: ``data:`` addresses by content id.
        room: most characters to insert.
    """

    def image(found: re.Match[str]) -> str:
        nonlocal room
        name = unescaped(found[1])
        data = images.get(name) or images.get(unquote(name).strip("<> "), "")
        room -= len(data)
        return data if data and room > 0 else found[0]

    return _CID.sub(image, page) if images else page


def data_address(kind: str, data: bytes) -> str:
    """A ``data:`` address that contains the image itself."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def loads_anything(page: str) -> bool:
    """Whether HTML names images or styles that a browser would load from the network."""
    return _REMOTE.search(page) is not None


def plain_text(page: str) -> str:
    """Convert HTML to plain text, roughly: without tags, styles and scripts, one line per block."""
    text = _BREAK.sub("\n", _TAG_SPACES.sub(" ", _without_silent(page)))
    return _without_blank_runs(_SPACES.sub(" ", unescaped(_TAG.sub("", text))))


def unescaped(text: str) -> str:
    """Replace character references, as `html.unescape`, which raises ValueError for 4,300 digits."""
    return html.unescape(_LONG_NUMBER.sub("\ufffd", text))


def _without_blank_runs(text: str) -> str:
    """Strip each line, and keep one blank line of several. A regular expression for it is quadratic."""
    kept: list[str] = []
    for line in map(str.strip, text.split("\n")):
        if line or (kept and kept[-1]):
            kept.append(line)
    return "\n".join(kept).rstrip("\n")


def _without_silent(page: str) -> str:
    out, at, depth = [], 0, 0
    for found in _SILENT.finditer(page):
        if not depth:
            out.append(page[at : found.start()])
        depth = max(depth + (-1 if found[1] else 1), 0)
        at = found.end()
    if not depth:
        out.append(page[at:])
    return "".join(out)
