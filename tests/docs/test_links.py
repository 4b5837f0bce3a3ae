"""Every relative link of the documents leads to a file or a heading that is there."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from blocks import DOCS, REPOSITORY, name_of

PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted(DOCS.rglob("*.md")), REPOSITORY / "benchmarks/README.md"]
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CITED = re.compile(r"\b((?:docs/[\w/-]+|ARCHITECTURE|CONTRIBUTING)\.md)(?:, [\"']([^\"'\n]+)[\"'])?")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def without_code(text: str) -> str:
    """A page without its code: nothing in there is a link or a heading."""
    return _CODE.sub(lambda found: re.sub(r"[^\n`]", "x", found[0]), text)


def anchor(heading: str) -> str:
    """The anchor that GitHub and the site's generator both give to a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


@cache
def anchors(page: Path) -> frozenset[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return frozenset(anchor(heading) for heading in _HEADING.findall(text))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links(page: Path) -> None:
    for link in _LINK.findall(without_code(page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)} links to {link}"
        if heading and target.suffix == ".md":
            assert heading in anchors(target), f"{name_of(page)} links to {link}: no such heading"
            # GitHub turns each space into a dash, the site's generator runs of them
            assert "--" not in heading, f"{name_of(page)} links to {link}: a place with two anchors"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_are_named_are_there(page: Path) -> None:
    """A path of this repository in the text is one that exists."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for path in re.findall(r"`((?:maildir_safe|tests|tools|benchmarks|docs|examples)/[\w/.*-]*)`", text):
        assert [*REPOSITORY.glob(path.rstrip("/"))], f"{name_of(page)} names {path}"


@pytest.mark.parametrize("folder", ["maildir_safe", "tests", "benchmarks", "tools"])
def test_what_the_code_cites_is_there(folder: str) -> None:
    """The path of a page in a docstring or a comment, perhaps with a heading in quotes behind it."""
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        text = re.sub(r"\n\s*(?:# )?", " ", path.read_text())
        for page, heading in _CITED.findall(text):
            assert (REPOSITORY / page).exists(), f"{name_of(path)} cites {page}"
            headings = anchors(REPOSITORY / page)
            assert not heading or anchor(heading) in headings, f"{name_of(path)} cites {page}, {heading!r}"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (REPOSITORY / "mkdocs.yml").read_text()
    named = re.findall(r"[\w/-]+\.md", navigation.partition("\nnav:")[2])
    assert sorted(named) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_every_picture_is_shown() -> None:
    texts = "".join(page.read_text() for page in PAGES)
    assert [picture.name for picture in (DOCS / "img").iterdir() if picture.name not in texts] == []
