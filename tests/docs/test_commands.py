"""Every command and every Python block of the tutorial, the how-to guides and README is run here.

What cannot be run says why on the line above it (`<!-- not run: ... -->`), or is run by another test.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from blocks import DOCS, REPOSITORY, Block, blocks, commands, name_of
from session import Session, matches

PAGES = [
    REPOSITORY / "README.md",
    *sorted((DOCS / "tutorial").glob("*.md")),
    *sorted((DOCS / "howto").glob("*.md")),
]
RUN = ("console", "python")
ELSEWHERE = {"docs/howto/test-fixtures.md": "python"}
"""Blocks of this language are run by tests/unit/test_plugin.py."""


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    session = Session(tmp_path)
    yield session
    session.close()


def is_run(page: Path, block: Block) -> bool:
    return block.language in RUN and not block.directive and ELSEWHERE.get(name_of(page)) != block.language


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page(page: Path, session: Session) -> None:
    for block in filter(lambda block: is_run(page, block), blocks(page)):
        where = f"{name_of(page)}:{block.line}"
        if block.file_name:
            (session.home / block.file_name).write_text(session.here(block.text))
        elif block.language == "python":
            output = session.python(block.text)
            assert "Traceback" not in output, f"{where}:\n{output}"
        else:
            run_console(session, block, where)


def run_console(session: Session, block: Block, where: str) -> None:
    told = commands(block)
    for number, (command, expected) in enumerate(told):
        status, output = session.shell(command, expected)
        shown, wanted = session.normal(output), session.normal(expected)
        assert matches(shown, wanted), f"{where}: $ {command}\n{shown}\n-- but the page has:\n{wanted}"
        asked = number + 1 < len(told) and told[number + 1][0] == "echo $?"
        assert status == 0 or asked, f"{where}: $ {command} ended with {status}:\n{output}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_is_not_run_says_why(page: Path) -> None:
    for block in blocks(page):
        where = f"{name_of(page)}:{block.line}"
        assert block.language, f"{where}: a block without a language"
        assert not block.directive or re.match(r"(not run|config|tested by): \S", block.directive), where


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_saved_file_is_used(page: Path) -> None:
    """A block with a name is not run by itself: a later command has to."""
    if ELSEWHERE.get(name_of(page)) == "python":
        return
    found = blocks(page)
    for number, block in enumerate(found):
        if block.file_name and is_run(page, block):
            later = [command for other in found[number:] if other.language == "console"
                     for command, _ in commands(other)]  # fmt: skip
            assert any(block.file_name in command for command in later), f"{name_of(page)}:{block.line}"


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=name_of)
def test_python_is_python(page: Path) -> None:
    """Also where it is not run, a block is something that Python can read; signatures are not."""
    if page.name == "python-api.md":
        return
    for block in blocks(page):
        if block.language == "python" and ">>>" not in block.text:
            ast.parse(block.text)
