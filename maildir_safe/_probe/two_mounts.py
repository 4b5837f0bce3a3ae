"""Checks with two mounts of one export: when one sees the other's changes, and which wins a race.

Rename is the one exclusive operation that works across hosts. On sshfs, rclone, davfs2 and smbnetfs two
mounts both win O_EXCL, and locks do not reach the other host, but of two renames of one file one wins
(docs/reference/file-systems.md, "Who wins a rename").
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from functools import partial

from maildir_safe._fs import FileSystem
from maildir_safe._probe.probe_directory import ProbeDirectory, named, said
from maildir_safe._probe.report import BAD, NOTE, OK, Check

RENAME_ROUNDS = 200
EXCL_ROUNDS = 50
_LONGEST_WAIT = 90.0  # seconds: twice the longest delay seen, NFS with its default caches


def enter(fs: FileSystem, path: str, name: str) -> ProbeDirectory:
    """Open the first mount's folder as soon as the second mount shows it.

    Raises:
        OSError: it does not appear, for longer than any cache lasts.
    """
    start = fs.monotonic()
    while True:
        try:
            return ProbeDirectory(fs, path, name, make=False)
        except OSError:
            if fs.monotonic() - start > _LONGEST_WAIT:
                raise
            fs.sleep(0.2)


def check_pair(one: ProbeDirectory, two: ProbeDirectory, progress: Callable[[str], None]) -> Iterator[Check]:
    """Do all checks that need two mounts."""
    progress("how soon the second mount sees a rename")
    seen = _seen_after(one, two)
    if seen is None:
        yield Check(
            "visibility", BAD, f"not seen within {_LONGEST_WAIT:.0f} s", "not the same export, or no server"
        )
        return
    yield visible_check(seen)
    progress("how long the second mount remembers that a name was absent")
    negative = _absent_for(one, two)
    text = f"an absent name that was looked up is seen after {negative:.2f} s"
    yield Check("negative-cache", OK if negative < 1 else NOTE, text, value=round(negative, 2))
    progress("who wins O_EXCL")
    yield _exclusive_race(one, two)
    progress("who wins a rename")
    yield _rename_race(one, two)
    yield _removed_while_read(one, two)


def visible_check(seen: float) -> Check:
    """Return the check for the seconds until one mount sees the other's rename."""
    remedy = "" if seen < 5 else f"leases of a shared queue: at least {3 * seen:.0f} s"
    text = f"a rename is seen after {seen:.2f} s"
    return Check("visibility", OK if seen < 5 else NOTE, text, remedy, round(seen, 2))


def _wait(room: ProbeDirectory, condition: Callable[[], bool]) -> float | None:
    """Wait for a condition; return the seconds, or None if it does not hold within the longest wait."""
    start = room.fs.monotonic()
    while not _holds(condition):
        if room.fs.monotonic() - start > _LONGEST_WAIT:
            return None
        room.fs.sleep(0.02)
        room.look_again()
    return room.fs.monotonic() - start


def _holds(condition: Callable[[], bool]) -> bool:
    """Evaluate a condition; False if it fails, since a stale directory or a server may answer later."""
    try:
        return condition()
    except OSError:
        return False


def _seen_after(one: ProbeDirectory, two: ProbeDirectory) -> float | None:
    src, dst = one.put(one.a), one.fresh()
    two.fs.listdir(two.b)  # only a client that has looked before may see stale names
    one.fs.rename(src, dst, src_dir_fd=one.a, dst_dir_fd=one.b)
    return _wait(two, lambda: two.has(two.b, dst))


def _absent_for(one: ProbeDirectory, two: ProbeDirectory) -> float:
    name = one.fresh()
    two.errno(lambda: two.fs.stat(name, two.a))
    one.put(one.a, name)
    waited = _wait(two, lambda: not two.errno(lambda: two.fs.stat(name, two.a)))
    return _LONGEST_WAIT if waited is None else waited


def _together(first: Callable[[], int], second: Callable[[], int]) -> tuple[int, int]:
    """Start two calls at the same moment; return their results."""
    results = [0, 0]
    start = threading.Barrier(2)

    def run(slot: int, call: Callable[[], int]) -> None:
        start.wait()
        results[slot] = call()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate((first, second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results[0], results[1]


def _exclusive_race(one: ProbeDirectory, two: ProbeDirectory) -> Check:
    both = 0
    for _ in range(EXCL_ROUNDS):
        name = one.fresh()
        answers = _together(
            lambda name=name: one.errno(lambda: one.put(one.a, name)),  # type: ignore[misc]
            lambda name=name: two.errno(lambda: two.put(two.a, name)),  # type: ignore[misc]
        )
        both += answers == (0, 0)
    return exclusive_check(both)


def exclusive_check(both: int) -> Check:
    """Return the check for the number of rounds in which both made the file."""
    text = f"both mounts made the file in {both} of {EXCL_ROUNDS} rounds"
    remark = "; lock files do not work here" if both else ""
    return Check("exclusive-race", NOTE if both else OK, text + remark, value=both)


def _rename_race(one: ProbeDirectory, two: ProbeDirectory) -> Check:
    sources = [one.put(one.a) for _ in range(RENAME_ROUNDS)]
    _wait(two, lambda: set(sources) <= set(two.fs.listdir(two.a)))
    losers: set[str] = set()
    wins = []
    for src in sources:
        answers = _together(
            partial(one.errno, partial(one.fs.rename, src, f"{src}.one", src_dir_fd=one.a, dst_dir_fd=one.b)),
            partial(two.errno, partial(two.fs.rename, src, f"{src}.two", src_dir_fd=two.a, dst_dir_fd=two.b)),
        )
        wins.append(answers.count(0))
        losers |= {named(number) for number in answers if number}
    _wait(one, lambda: _race_is_over(one, sources))
    there = set(one.fs.listdir(one.b))
    copies = [(f"{src}.one" in there) + (f"{src}.two" in there) for src in sources]
    return race_check(wins, copies, losers)


def race_check(wins: list[int], copies: list[int], losers: set[str]) -> Check:
    """Return the check for a race.

    Args:
        wins: for each file, how many won it.
        copies: for each file, how often it exists afterwards.
        losers: the errors of the losers.
    """
    counts = {"one": wins.count(1), "both": wins.count(2), "none": wins.count(0)}
    astray = sum(count != 1 for count in copies)
    text = (
        f"of {len(wins)} rounds one won {counts['one']}, both {counts['both']}, none {counts['none']};"
        f" files lost or doubled: {astray}; the loser is told {', '.join(sorted(losers)) or 'nothing'}"
    )
    bad = counts["both"] + astray
    remedy = "no shared queue here: run one host for each spool" if bad else ""
    value = {**counts, "not once": astray, "loser": sorted(losers)}
    return Check("rename-race", BAD if bad else OK, text, remedy, value)


def _race_is_over(room: ProbeDirectory, sources: list[str]) -> bool:
    there = set(room.fs.listdir(room.b))
    return all(f"{src}.one" in there or f"{src}.two" in there for src in sources)


def _removed_while_read(one: ProbeDirectory, two: ProbeDirectory) -> Check:
    name = one.put(one.a, data=b"x" * 100_000)
    _wait(two, lambda: two.has(two.a, name))
    fd = two.fs.open(name, two.a)
    one.errno(lambda: one.fs.unlink(name, dir_fd=one.a))
    number = two.errno(lambda: two.fs.read(fd, 1 << 20))
    two.errno(lambda: two.fs.close(fd))
    result = OK if number in (0, errno.ESTALE) else NOTE
    return Check("removed-while-read", result, f"read: {said(number)}", value=named(number))
