"""One table says what each type of file system does, and nothing else names a type."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from maildir_safe._delivery.receipt import DURABILITY_LEVELS
from maildir_safe._fs import quirks as module
from maildir_safe._fs.quirks import Quirks, quirks

PACKAGE = Path(module.__file__).parents[1]
TABLE = module._TABLE
# profiles of simulated file systems say which type they stand for
ELSEWHERE = [
    path for path in PACKAGE.rglob("*.py") if path != Path(module.__file__) and "testing" not in path.parts
]


def is_type(text: str) -> bool:
    return text in TABLE and text != "nfs"  # also the name of a family


@pytest.mark.parametrize("path", ELSEWHERE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_other_module_names_a_type(path: Path) -> None:
    """Two tables existed twice, and one had drifted."""
    tree = ast.parse(path.read_text())
    words = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert [word for word in words if is_type(word) or word.startswith("fuse.")] == []


def test_what_is_not_in_the_table_is_ordinary() -> None:
    assert vars(quirks("ufs")) == {}
    assert quirks("").durability == "full"


@pytest.mark.parametrize("fstype", TABLE)
def test_each_cell_is_one_that_the_code_asks_for(fstype: str) -> None:
    row = TABLE[fstype]
    for cell, value in vars(row).items():
        assert cell in Quirks.__annotations__ or hasattr(Quirks, cell), cell
        assert value != getattr(Quirks, cell), f"{fstype}: {cell} is what is ordinary anyway"
    assert row.durability in DURABILITY_LEVELS
    assert row.staging in ("tmp", "new")


def test_a_misspelt_cell_is_refused() -> None:
    """It would have been a row that says nothing, without a word."""
    with pytest.raises(TypeError, match="old_name_returns"):
        Quirks(old_name_returns=True)


def test_coda() -> None:
    coda = quirks("coda")
    assert (coda.one_rename_wins, coda.durability, coda.staging, coda.open_directories_stay_stale) == (
        False,
        "client",
        "new",
        True,
    )


def test_each_cell_is_asked_for_somewhere() -> None:
    code = "".join(path.read_text() for path in ELSEWHERE)
    cells = [name for name in vars(Quirks) if not name.startswith("_")]
    unused = [cell for cell in cells if f").{cell}" not in code and f"row.{cell}" not in code]
    assert unused == []
