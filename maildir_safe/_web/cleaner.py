"""Cleans HTML from standard input with nh3 and writes a page; see `cleaning.py`, which runs it.

An argument ``remote`` also lets pass links to style sheets.
"""

from __future__ import annotations

import re
import resource
import sys

import nh3

_SECONDS = 3
_MEMORY = 512 << 20
_LONGEST = 16 << 20  # of the page, in bytes
_TAGS = nh3.ALLOWED_TAGS | {
    "style", "font", "big", "picture", "source", "main", "section", "address", "dir",
    "button", "fieldset", "input", "label", "legend", "optgroup", "option", "select", "textarea",
}  # fmt: skip
_WITH_CONTENT = {
    "script", "noscript", "title", "svg", "math", "xml", "template", "iframe", "object", "applet", "audio",
    "video", "canvas", "noframes", "noembed",
}  # fmt: skip
_ATTRIBUTES = {
    "class", "id", "style", "dir", "lang", "title", "role", "hidden", "align", "valign", "width",
    "height", "bgcolor", "background", "border", "color", "face", "size", "sizes", "alt", "src",
    "srcset", "media", "colspan", "rowspan", "nowrap", "span", "cellpadding", "cellspacing",
    "bordercolor", "frame", "rules", "scope", "headers", "hspace", "vspace", "start", "reversed",
    "type", "value", "checked", "disabled", "selected", "multiple", "readonly", "for", "placeholder",
    "rows", "cols", "label", "cite", "datetime", "open", "clear", "noshade", "compact", "shape",
    "coords", "usemap", "text", "link", "vlink", "alink", "topmargin", "leftmargin", "marginwidth",
    "marginheight",
}  # fmt: skip
_SCHEMES = {"http", "https", "mailto", "tel", "cid", "data"}
_LINKED = ("http:", "https:", "mailto:", "tel:", "#")
_SHOWN = ("http:", "https:", "//", "cid:", "data:image/")
_IGNORED = {ord(character): None for character in "\t\r\n"}  # as browsers ignore them in an address
_ODD = re.compile(r"[\s\"'()<>;]", re.ASCII)
_STYLE_CID = re.compile(r"url\(\s*[\"']?\s*(cid:[^\"'()]{1,500}?)\s*[\"']?\s*\)", re.IGNORECASE)


def _attribute(tag: str, name: str, value: str) -> str | None:
    """An attribute as it may stay; None: it goes. nh3 has checked the scheme of an address."""
    if name == "style":
        return _STYLE_CID.sub(lambda found: f"url({_own_image(found[1])})", value)
    if name == "rel" and tag == "link":
        return value if value.strip().lower() == "stylesheet" else None
    if name not in ("href", "src", "background", "cite"):
        return value
    address = value.translate(_IGNORED).strip()
    if address[:4].lower() == "cid:":
        address = _own_image(address)
    allowed = ("http:", "https:") if tag == "link" else _LINKED if name == "href" else _SHOWN
    return address if address.lower().startswith(allowed) else None


def _own_image(address: str) -> str:
    """The address of an image of the message, in one spelling."""
    return "cid:" + _ODD.sub(lambda found: f"%{ord(found[0]):02X}", address[4:].strip("<> "))


def _cleaner(remote: bool) -> nh3.Cleaner:
    link = {"link": {"rel", "href", "type"}} if remote else {}
    return nh3.Cleaner(
        tags=_TAGS | link.keys(),
        clean_content_tags=_WITH_CONTENT,
        attributes={"*": _ATTRIBUTES, "a": {"href", "name"}, "area": {"href"}, **link},
        attribute_filter=_attribute,
        url_schemes=_SCHEMES,
        generic_attribute_prefixes={"aria-"},
        link_rel=None,
        set_tag_attribute_values={"a": {"rel": "noopener noreferrer"}},
    )


def _without_comments(page: str) -> str:
    """What may have the first ``<body>``: Outlook's own is in a comment."""
    first, *others = page.split("<!--")
    return first + "".join(other.partition("-->")[2] for other in others)


def _attributes_of(cleaner: nh3.Cleaner, page: str, name: str) -> str:
    """The cleaned attributes of ``<html>`` or ``<body>``, which nh3 drops: they have the colours."""
    found = re.search(rf"<{name}(?=[\s/>])([^<>]*)>", page, re.IGNORECASE)
    cleaned = cleaner.clean(f"<div{found[1]}></div>") if found else ""
    before, after = "<div", "></div>"
    alone = cleaned.startswith(before) and cleaned.endswith(after) and cleaned.count("<") == 2
    return cleaned[len(before) : -len(after)] if alone else ""


def clean(page: str, remote: bool = False) -> str:
    """The page that a browser may show in a sandbox.

    Args:
        page: the HTML of a message.
        remote: whether links to style sheets stay.
    """
    cleaner = _cleaner(remote)
    bare = _without_comments(page)
    whole, body = (_attributes_of(cleaner, bare, name) for name in ("html", "body"))
    head = '<head><meta charset="utf-8"><base target="_blank"></head>'
    return f"<!doctype html><html{whole}>{head}<body{body}>{cleaner.clean(page)}</body></html>"


def main() -> None:
    """Clean standard input, within limits."""
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    page = sys.stdin.buffer.read().decode("utf-8", "replace")
    cleaned = clean(page, "remote" in sys.argv[1:]).encode("utf-8", "replace")
    if len(cleaned) <= _LONGEST:
        sys.stdout.buffer.write(cleaned)


if __name__ == "__main__":
    main()
