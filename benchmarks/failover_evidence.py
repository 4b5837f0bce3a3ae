"""What a failover run shows of a message that is doubled, where nothing explains it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.failover_client import DOMAIN

_MOST = 3  # messages
_LINES = 40  # of one message, of each kind
_WIDTH = 700
_KEY = re.compile(r"D([0-9a-f]{16})\.")


def evidence(numbers: Iterable[str], ledger: Path, bricks: Iterable[Path], logs: Iterable[Path]) -> list[str]:
    """Lines about messages: the ledger's, the copies' files, their marks of the spool, and the logs'.

    Args:
        numbers: the messages, as the ledger calls them; the first few are shown.
        ledger: of `benchmarks.failover_client`.
        bricks: the directories of the file servers: what each of them has is shown.
        logs: of the mail hosts; lines are shown that name a copy's id, or its delivery id's key.
    """
    shown = []
    for number in [*numbers][:_MOST]:
        copies = {brick: [*_copies(brick, number)] for brick in bricks}
        ids = {path.name.partition(",")[0] for paths in copies.values() for path in paths}
        keys = {match[1] for ident in ids if (match := _KEY.search(ident))}
        said = [line for line in ledger.read_text().splitlines() if f" {number} " in line]
        shown += [f"{number}:", *_cut(said, "ledger")]
        for brick, paths in copies.items():
            marks = [path for key in keys for path in brick.glob(f"spool/ids/*/{key}.*")]
            items = [path for key in keys for path in brick.glob(f"spool/*/*/*D{key}.*")]
            files = sorted({*paths, *marks, *items}, key=_changed)
            shown += _cut([_file(path, brick) for path in files], brick.parent.name)
            shown += _cut([line for path in paths for line in _received(path)], f"{brick.parent.name} trace")
        for log in logs:
            shown += _cut([*_naming(log, ids | keys)], log.name)
    return shown


def _copies(brick: Path, number: str) -> Iterator[Path]:
    line = f"Subject: {number}\n"
    for path in sorted(brick.glob(f"{DOMAIN}/*/new/*")):
        if line in path.read_text(errors="replace"):
            yield path


def _file(path: Path, brick: Path) -> str:
    """A file's name, inode, links, size and times."""
    try:
        about = path.stat()
    except OSError as error:
        return f"{path.relative_to(brick)}: {error.strerror}"
    times = f"modified {_clock(about.st_mtime)}, changed {_clock(about.st_ctime)}"
    content = f" {path.read_text(errors='replace')!r}" if about.st_size < 100 else ""
    where = path.relative_to(brick)
    return f"{where} inode {about.st_ino} links {about.st_nlink} size {about.st_size} {times}{content}"


def _changed(path: Path) -> float:
    try:
        return path.stat().st_ctime
    except OSError:
        return 0.0


def _clock(when: float) -> str:
    return f"{when:.3f} ({time.strftime('%H:%M:%S', time.gmtime(when))})"


def _received(path: Path) -> list[str]:
    head = path.read_text(errors="replace").partition("\n\n")[0].replace("\n\t", " ").replace("\n ", " ")
    return [line for line in head.splitlines() if line.startswith("Received:")]


def _naming(log: Path, words: set[str]) -> Iterator[str]:
    if log.exists():
        with log.open(errors="replace") as lines:
            yield from (line.rstrip("\n") for line in lines if any(word in line for word in words))


def _cut(lines: list[str], what: str) -> list[str]:
    left = [f"  {what}: ... {len(lines) - _LINES} more"] if len(lines) > _LINES else []
    return [f"  {what}: {line[:_WIDTH]}" for line in lines[:_LINES]] + left
