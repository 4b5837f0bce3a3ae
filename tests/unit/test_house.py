"""The house rules (ARCHITECTURE.md, "Rooms"): who may import whom, and who may touch files."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "maildir_safe"
FLOORS = {
    "errors": 0, "_fs": 0, "_names": 0, "_child": 0, "_notify": 0,
    "_handoff": 1,
    "_delivery": 2, "_health": 2,
    "_maildir": 3, "_mail": 3, "_shim": 3,
    "mailbox": 4, "_queue": 4, "_mailboxes": 4, "_mailbox_tree": 4,
    "_check": 5, "_smtp": 5, "_web": 5, "_bench": 5, "_probe": 5, "_submission": 5, "contrib": 6,
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


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def dotted(path: Path) -> str:
    return ".".join(("maildir_safe", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    )


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports_in(node: ast.AST) -> Iterator[str]:
    """The modules of this package that a statement imports."""
    if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "maildir_safe":
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "maildir_safe")


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imported_at_load(path: Path) -> set[str]:
    """The modules that are imported when this one is; neither for types alone, nor within functions."""
    known = {dotted(module) for module in MODULES}
    found: set[str] = set()
    waiting: list[ast.AST] = list(tree_of(path).body)
    while waiting:
        node = waiting.pop()
        if is_for_types(node):
            waiting += node.orelse  # type: ignore[attr-defined]
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found |= set(imports_in(node))
            waiting += list(ast.iter_child_nodes(node))
    return (found & known) - {dotted(path), "maildir_safe"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down_only(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return  # the front door names things of every floor, and loads them when asked
    assert room in FLOORS, f"{path}: a room that ARCHITECTURE.md does not know"
    imported = {name for node in ast.walk(tree_of(path)) for name in imports_in(node)}
    others = {name.split(".")[1] for name in imported if "." in name} & set(FLOORS) - {room}
    higher = {other for other in others if FLOORS[other] > FLOORS[room]}
    # testing/ stands beside the house: floor 5 may use it, floors 0-4 never
    if FLOORS[room] == 5:
        higher.discard("testing")
    assert not higher, f"{path} is on floor {FLOORS[room]} and imports upward: {sorted(higher)}"


def test_no_two_rooms_import_each_other() -> None:
    arrows = {(room_of(path), name.split(".")[1]) for path in MODULES if room_of(path) != "__init__"
              for node in ast.walk(tree_of(path)) for name in imports_in(node) if "." in name}  # fmt: skip
    both = {(one, two) for one, two in arrows if one < two and (two, one) in arrows}
    assert both - {("_check", "testing"), ("_smtp", "testing"), ("_cli", "testing")} == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    arrows = {dotted(path): imported_at_load(path) for path in MODULES if room_of(path) != "__init__"}

    def circle_from(name: str, way: tuple[str, ...]) -> tuple[str, ...] | None:
        if name in way:
            return (*way[way.index(name) :], name)
        if name in clean:
            return None
        for other in sorted(arrows.get(name, ())):
            found = circle_from(other, (*way, name))
            if found:
                return found
        clean.add(name)
        return None

    clean: set[str] = set()
    circles = {circle for name in arrows if (circle := circle_from(name, ()))}
    assert circles == set()


def private_names_of(path: Path) -> set[str]:
    """The private attributes and functions that a module defines."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, (ast.AnnAssign, ast.Assign)):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in found if name.startswith("_") and not name.startswith("__")}


PRIVATE = {room: set().union(*(private_names_of(path) for path in MODULES if room_of(path) == room))
           for room in {room_of(path) for path in MODULES}}  # fmt: skip
OURS = set().union(*PRIVATE.values())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_room_uses_private_names_of_another(path: Path) -> None:
    used = {
        f"line {node.lineno}: .{node.attr}"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute)
        and node.attr in OURS - PRIVATE[room_of(path)]
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    }
    used |= {
        f"line {node.lineno}: import {alias.name}"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("maildir_safe.")
        for alias in node.names
        if alias.name in OURS
    }
    assert used == set(), f"{path} reaches into another's private names"


def loaded_by_deliver(maildir: Path) -> set[str]:
    """What a mail server's deliveries load: into a folder, with an id, under a quota, or refused."""
    script = (
        "import sys; from maildir_safe._cli import main; main(sys.argv[1:]);"
        "print(*[name for name in sys.modules if name.startswith('maildir_safe')])"
    )
    loaded: set[str] = set()
    for words in ([], ["-m", "Sub"], ["--delivery-id", "1"], ["--delivery-id", "1"]):
        done = subprocess.run(
            [sys.executable, "-c", script, "deliver", *words, str(maildir)],
            input="Subject: x\n\nx\n", capture_output=True, text=True, check=True,
        )  # fmt: skip
        loaded |= set(done.stdout.split())
        (maildir / "maildirsize").write_text("1000000S\n")
    assert "maildir_safe._maildir.quota" in loaded
    return loaded


def loaded_by_submission(spool: Path) -> set[str]:
    """What `sendmail`, `qmail-queue` and a program that puts a message load to queue it."""
    put = "import sys; from maildir_safe import Queue; Queue(sys.argv[1]).put(b'x', 'a@b', ['c@d']);"
    script = "import sys; from maildir_safe._cli import main; assert main(sys.argv[1:]) == 0;"
    show = "print(*[name for name in sys.modules if name.startswith('maildir_safe')], file=sys.stderr)"
    loaded: set[str] = set()
    aliases = spool.parent / "aliases"
    aliases.write_text("c: d\n")
    with (spool.parent / "sendmail.toml").open("a") as config:
        config.write(f'aliases = "{aliases}"\n')
    envelope = spool.parent / "envelope"
    envelope.write_bytes(b"Fa@b\0Tc@d\0\0")
    for code, words in ((script, ["sendmail", "-ti"]), (script, ["qmail-queue"]), (put, [f"{spool}-new"])):
        with envelope.open("rb") as descriptor_1:
            done = subprocess.run(
                [sys.executable, "-c", code + show, *words],
                input="To: c@d\n\nx\n", stdout=descriptor_1, stderr=subprocess.PIPE, text=True, check=True,
            )  # fmt: skip
        loaded |= set(done.stderr.split())
    return loaded


def test_types_are_imported_as_everywhere_but_where_mail_servers_wait(tmp_path: Path, spool: Path) -> None:
    """`typing` costs a mail delivery agent a tenth of its start-up time; elsewhere nobody needs the trick."""
    spared = {dotted(path) for path in MODULES if "\nTYPE_CHECKING = False\n" in path.read_text()}
    needless = spared - loaded_by_deliver(tmp_path / "m") - loaded_by_submission(spool) - {"maildir_safe"}
    # of `run`; of network mounts; and of the installed script, which this test does not run
    waited_for = ("maildir_safe._shim", "maildir_safe._fs.fsync", "maildir_safe._cli.quick_imports")
    assert {name for name in needless if not name.startswith(waited_for)} == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_fs_touches_files(path: Path) -> None:
    if room_of(path) in MAY_TOUCH_FILES:
        return
    calls = [
        f"line {node.lineno}: os.{node.func.attr}"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "os"
        and node.func.attr in FILE_CALLS
    ]
    assert not calls, f"{path}: only _fs talks to the file system: {calls}"


def test_nothing_that_handles_mail_links() -> None:
    linking = [
        str(path)
        for path in MODULES
        if room_of(path) not in MAY_TOUCH_FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and node.attr in ("link", "symlink", "hardlink_to")
    ]
    assert linking == []


@pytest.mark.parametrize(("folder", "most"), [("maildir_safe", 400), ("benchmarks", 400), ("tests", 500)])
def test_no_file_is_too_long(folder: str, most: int) -> None:
    long = {
        str(path): lines
        for path in (PACKAGE.parent / folder).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > most
    }
    assert long == {}


def test_no_two_test_files_have_one_name() -> None:
    """pytest cannot collect them together."""
    names = [path.name for path in (PACKAGE.parent / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
