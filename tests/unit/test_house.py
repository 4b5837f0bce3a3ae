"""The house rules (ARCHITECTURE.md, "Rooms"): who may import whom, and who may touch files."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "maildir_safe"
FLOORS = {
    "errors": 0, "_fs": 0, "_names": 0, "_child": 0,
    "_handoff": 1, "_delivery": 2,
    "_maildir": 3, "_mail": 3, "_shim": 3,
    "mailbox": 4, "_queue": 4, "_mailboxes": 4,
    "_check": 5, "_smtp": 5, "_web": 5, "_bench": 5, "_probe": 5,
    "_cli": 6, "__main__": 6, "testing": 6,
}  # fmt: skip
NAMES = """
    open mkdir makedirs rename renames replace link symlink unlink remove rmdir removedirs listdir scandir
    walk fwalk stat lstat fstat statvfs fstatvfs fsync fdatasync sync read write pread pwrite close dup chmod
    fchmod chown utime truncate ftruncate readlink access fdopen copy_file_range sendfile
"""
FILE_CALLS = {name for name in NAMES.split() if hasattr(os, name)}
MAY_TOUCH_FILES = {"_fs", "_probe", "_bench", "_shim", "testing"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(tree: ast.AST) -> set[str]:
    """The parts of this package that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("maildir_safe.")}
    return found & set(FLOORS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down_only(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        return  # the front door names things of every floor, and loads them when asked
    assert part in FLOORS, f"{path}: a part that ARCHITECTURE.md does not know"
    higher = {
        other
        for other in imports_of(ast.parse(path.read_text()))
        if other != part and FLOORS[other] > FLOORS[part]
    }
    # testing/ stands beside the house: it may be used by check/ and cli/, never by floors 0-3
    if FLOORS[part] == 5:
        higher.discard("testing")
    assert not higher, f"{path} is on floor {FLOORS[part]} and imports upward: {sorted(higher)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_fs_touches_files(path: Path) -> None:
    if part_of(path) in MAY_TOUCH_FILES:
        return
    calls = [
        f"line {node.lineno}: os.{node.func.attr}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "os"
        and node.func.attr in FILE_CALLS
    ]
    assert not calls, f"{path}: only fs.py talks to the file system: {calls}"


def test_nothing_that_handles_mail_links() -> None:
    linking = [
        str(path)
        for path in MODULES
        if part_of(path) not in MAY_TOUCH_FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("link", "symlink", "hardlink_to")
    ]
    assert linking == []


@pytest.mark.parametrize("folder", ["maildir_safe", "benchmarks", "tests"])
def test_no_file_is_longer_than_500_lines(folder: str) -> None:
    long = {
        str(path): lines
        for path in (PACKAGE.parent / folder).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 500
    }
    assert long == {}


def test_no_two_test_files_have_one_name() -> None:
    """pytest cannot collect them together."""
    names = [path.name for path in (PACKAGE.parent / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
