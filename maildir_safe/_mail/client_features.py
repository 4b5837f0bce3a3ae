"""What HTML and CSS a message uses, by the names of caniemail.com, as far as a look at the text can tell.

No document tree is made and no style is applied: this is for hints, and the text is a stranger's. Each
pattern looks at each character a bounded number of times.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from maildir_safe._mail.html import unescaped

LOOKED_AT = 1 << 20
"""Characters of the HTML, from its beginning, that are looked at."""
_MOST_TAGS = 20_000
_MOST_STYLES = 500_000  # characters

_TAG = re.compile(r"<([a-zA-Z][a-zA-Z0-9]{0,20})(?![a-zA-Z0-9])([^<>]{0,10000})>")
_ATTRIBUTE = re.compile(r"([a-zA-Z-]{1,30})(?:\s{0,9}=\s{0,9}(\"[^\"]*+\"|'[^']*+'|[^\s\"'<>]++))?")
_STYLE = re.compile(r"<(/?)style\b[^<>]{0,2000}>", re.IGNORECASE)
_COMMENT = re.compile(r"/\*(?:[^*]++|\*(?!/))*+(?:\*/|\Z)")
_MEDIA = re.compile(r"@media\b([^{};@]{0,500})", re.IGNORECASE)
_PROPERTY = re.compile(r"(?<![a-z0-9_-])([a-z][a-z-]{1,40}+)\s{0,9}:(?!:)", re.IGNORECASE)


def _words(text: str) -> list[str]:
    return text.split()


def _named(kind: str, names: str) -> dict[str, str]:
    return {name: f"{kind}-{name}" for name in _words(names)}


_SEMANTICS = "article aside details figcaption figure footer header main mark nav section summary time"
_ELEMENTS = {
    **_named(
        "html",
        "abbr acronym address audio base bdi blockquote body code del dfn dialog dir div form hr img link"
        " marquee meter p picture pre progress rp rt ruby select small span strike strong style svg table"
        " textarea video wbr",
    ),
    **dict.fromkeys(("object", "embed"), "html-object"),
    **dict.fromkeys(("map", "area"), "html-image-maps"),
    **dict.fromkeys(("ul", "ol", "dl"), "html-lists"),
    **dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6"), "html-h1-h6"),
    **dict.fromkeys(_words(_SEMANTICS), "html-semantics"),
}
_ATTRIBUTES = {
    **_named(
        "html",
        "align background cellpadding cellspacing height hidden lang popover required role srcset target"
        " valign width aria-describedby aria-hidden aria-label aria-labelledby aria-live",
    ),
    "loading": "html-loading-attribute",
}
_INPUTS = {
    **{("input", name): f"html-input-{name}" for name in _words("checkbox hidden radio reset submit text")},
    ("button", "reset"): "html-button-reset",
    ("button", "submit"): "html-button-submit",
}
_ENDINGS = {
    **_named("image", "apng avif bmp gif hdr heif ico mp4 svg webp"),
    "tif": "image-tiff",
    "tiff": "image-tiff",
}
_SIDES = ("top", "right", "bottom", "left")
_PROPERTIES = {
    **_named(
        "css",
        "accent-color align-items animation aspect-ratio backdrop-filter background background-blend-mode"
        " background-clip background-color background-image background-origin background-position"
        " background-repeat background-size border border-collapse border-image border-radius border-spacing"
        " box-shadow box-sizing caption-side clear clip-path color-scheme column-count cursor direction"
        " display empty-cells filter flex-direction flex-wrap float font font-kerning font-size"
        " font-size-adjust font-stretch font-weight gap grid-template height hyphens inline-size inset"
        " justify-content letter-spacing line-height list-style list-style-image list-style-position"
        " list-style-type margin mask-image max-block-size max-height max-inline-size max-width"
        " min-block-size min-height min-inline-size min-width mix-blend-mode object-fit object-position"
        " opacity orphans outline outline-offset overflow overflow-wrap padding position resize scroll-snap"
        " shape-margin shape-outside tab-size table-layout text-align text-align-last text-decoration"
        " text-decoration-color text-decoration-line text-decoration-style text-decoration-thickness"
        " text-emphasis text-emphasis-position text-indent text-justify text-orientation text-overflow"
        " text-shadow text-transform text-underline-offset text-underline-position text-wrap transform"
        " transition user-select vertical-align visibility white-space white-space-collapse widows width"
        " word-break word-spacing word-wrap writing-mode z-index",
    ),
    **{f"{name}-{side}": f"css-{name}" for name in ("border", "margin", "padding") for side in _SIDES},
    **dict.fromkeys(_SIDES, "css-left-right-top-bottom"),
    **dict.fromkeys(("margin-inline", "margin-block"), "css-margin-inline-block"),
    **dict.fromkeys(("padding-inline", "padding-block"), "css-padding-inline-block"),
}


def _patterns() -> dict[str, re.Pattern[str]]:
    """What is no property, by a pattern in the CSS."""
    found = {f"css-display-{name}": rf"\bdisplay\s{{0,9}}:\s{{0,9}}{name}\b" for name in ("grid", "none")}
    found["css-display-flex"] = r"\bdisplay\s{0,9}:\s{0,9}(?:inline-)?flex\b"
    found |= {f"css-function-{name}": rf"\b{name}\(" for name in ("clamp", "light-dark", "max", "min")}
    found |= {f"css-{name}-gradient": rf"\b{name}-gradient\(" for name in ("conic", "linear", "radial")}
    found |= {"css-rgb": r"\brgb\(", "css-rgba": r"\brgba\(", "css-unit-calc": r"\bcalc\("}
    found |= {"css-variables": r"\bvar\(", "css-important": r"!\s{0,9}important\b"}
    found["css-unit-initial"] = r":\s{0,9}initial\b"
    for unit in _words("ch cm em ex in mm pc pt px rem vh vmax vmin vw"):
        found[f"css-unit-{unit}"] = rf"\d{unit}\b"
    for rule in _words("font-face import keyframes media supports"):
        found[f"css-at-{rule}"] = rf"@{rule}\b"
    for name in _words(
        "active checked default first-child first-of-type focus focus-visible focus-within has hover lang"
        " last-child last-of-type link not nth-child nth-last-child nth-last-of-type nth-of-type only-child"
        " only-of-type target visited"
    ):
        found[f"css-pseudo-class-{name}"] = rf"(?<!:):{name}(?![a-z-])"
    for name in _words("after before first-letter first-line marker placeholder"):
        found[f"css-pseudo-element-{name}"] = rf"::?{name}(?![a-z-])"
    return {slug: re.compile(pattern, re.IGNORECASE) for slug, pattern in found.items()}


_PATTERNS = _patterns()
_QUERIES = _named("css-at-media", "hover orientation prefers-color-scheme prefers-reduced-motion")
_OTHERS = ("html-anchor-links", "html-mailto-links", "image-base64")
DETECTED = frozenset(
    itertools.chain(
        *(each.values() for each in (_ELEMENTS, _ATTRIBUTES, _INPUTS, _ENDINGS, _PROPERTIES, _QUERIES)),
        _PATTERNS,
        _OTHERS,
    )
)
"""All features that can be found."""


class Uses(NamedTuple):
    """What a message uses.

    Attributes:
        counts: how often it uses each feature.
        elements: number of elements.
    """

    counts: Counter[str]
    elements: int


def used(page: str) -> Uses:
    """The features that HTML uses, in its first `LOOKED_AT` characters."""
    page = page[:LOOKED_AT]
    counts: Counter[str] = Counter()
    styles = [_COMMENT.sub(" ", style) for style in _styles(page)]
    elements = 0
    for found in itertools.islice(_TAG.finditer(page), _MOST_TAGS):
        elements += 1
        styles.append(_read_tag(found[1].lower(), found[2], counts))
    css = "\n".join(filter(None, styles))[:_MOST_STYLES]
    for name in _PROPERTY.finditer(css):
        if slug := _PROPERTIES.get(name[1].lower()):
            counts[slug] += 1
    for slug, pattern in _PATTERNS.items():
        if number := sum(1 for _ in pattern.finditer(css)):
            counts[slug] += number
    for media in _MEDIA.finditer(css):
        counts.update(slug for query, slug in _QUERIES.items() if f"({query}" in media[1].lower())
    return Uses(counts, elements)


def _styles(page: str) -> Iterator[str]:
    """The contents of the elements <style>."""
    start = -1
    for found in _STYLE.finditer(page):
        if found[1] and start >= 0:
            yield page[start : found.start()]
            start = -1
        elif not found[1] and start < 0:
            start = found.end()
    if start >= 0:
        yield page[start:]


def _read_tag(element: str, text: str, counts: Counter[str]) -> str:
    """Count what a tag uses. Returns its own style."""
    attributes = {
        found[1].lower(): unescaped((found[2] or "").strip("\"'")) for found in _ATTRIBUTE.finditer(text)
    }
    slugs = [_ELEMENTS.get(element), *(_ATTRIBUTES.get(name) for name in attributes)]
    slugs.append(_INPUTS.get((element, attributes.get("type", "").lower())))
    if element in ("a", "area"):
        target = attributes.get("href", "").lower()
        slugs.append("html-anchor-links" if target.startswith("#") else None)
        slugs.append("html-mailto-links" if target.startswith("mailto:") else None)
    elif element in ("img", "source"):
        source = attributes.get("src", "")[:2000].lower()
        ending = source.partition("?")[0].partition("#")[0].rpartition(".")[2]
        slugs.append("image-base64" if source.startswith("data:image/") else _ENDINGS.get(ending))
    counts.update(slug for slug in slugs if slug)
    return attributes.get("style", "")
