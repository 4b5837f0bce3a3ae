"""Checks by two hosts that share nothing but the mount: the same command on each, with the same token.

There is no coordinator. Each host leaves a mark in a folder named by the token; the host with the smaller
mark is the first. The hosts report their progress to each other by files, and start a race at a given time
of the wall clock. The clocks affect only how close the race is: the mount's answers decide who won.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial

from maildir_safe._fs import FileSystem
from maildir_safe._probe.probe_directory import ProbeDirectory, named
from maildir_safe._probe.report import Check
from maildir_safe._probe.two_mounts import (
    EXCL_ROUNDS,
    RENAME_ROUNDS,
    exclusive_check,
    race_check,
    visible_check,
)

RESOLVE_TIMEOUT = 600.0
"""Seconds to wait for the other host: somebody has to type the command there."""

_PINGS = 2


class HostRendezvous:
    """The meeting of two hosts in one folder.

    Args:
        fs: the file system's calls.
        path: the directory in which the folder lies.
        token: the same on both hosts, and new: letters and digits.

    Raises:
        OSError: the directory cannot be used. TimeoutError: the other host does not come.
    """

    def __init__(self, fs: FileSystem, path: str, token: str) -> None:
        name = f"maildir-safe-probe-{token}"
        above = fs.open_dir(path)
        try:
            for folder in (name, f"{name}/a", f"{name}/b"):
                ProbeDirectory.errno(lambda folder=folder: fs.mkdir(folder, above))  # type: ignore[misc]
        finally:
            fs.close(above)
        self.room = ProbeDirectory(fs, path, name, make=False)
        self._fs = fs
        mark = f"host.{fs.random(8).hex()}"
        self.room.put(self.room.root, mark)
        try:
            self.wait(lambda: len(self._marks()) > 1, "the other host")
        except OSError:
            self.room.errno(lambda: fs.unlink(mark, dir_fd=self.room.root))
            self.room.remove()
            raise
        marks = self._marks()
        if len(marks) > 2:
            raise FileExistsError(f"more than two hosts have used the token {token!r}: take a new one")
        self.first = marks[0] == mark

    def _marks(self) -> list[str]:
        return sorted(name for name in self._fs.listdir(self.room.root) if name.startswith("host."))

    def say(self, word: str, lines: list[str] | None = None) -> None:
        """Send a word to the other host, with some lines."""
        data = "\n".join(lines or []).encode()
        name = self.room.put(self.room.a, data=data)
        mark = f"{word}.{'one' if self.first else 'two'}"
        self._fs.rename(name, mark, src_dir_fd=self.room.a, dst_dir_fd=self.room.root)

    def hear(self, word: str) -> list[str]:
        """Wait for the other host's word; return its lines."""
        name = f"{word}.{'two' if self.first else 'one'}"
        self.wait(lambda: self.room.has(self.room.root, name), f"the other's {word!r}")
        fd = self._fs.open(name, self.room.root)
        try:
            return self._fs.read(fd, 1 << 20).decode().split()
        finally:
            self._fs.close(fd)

    def both(self, word: str, lines: list[str] | None = None) -> list[str]:
        """Send a word and wait for the other host's."""
        self.say(word, lines)
        return self.hear(word)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition holds.

        Raises:
            TimeoutError: it did not hold within `RESOLVE_TIMEOUT`.
        """
        start = self._fs.monotonic()
        while not condition():
            if self._fs.monotonic() - start > RESOLVE_TIMEOUT:
                raise TimeoutError(f"waited {RESOLVE_TIMEOUT:.0f} s for {what}")
            self._fs.sleep(0.05)

    def leave(self) -> None:
        """End the meeting; the second host to leave removes the folder."""
        self.say("bye")
        if self.first:
            self.room.leave()
            return
        self.hear("bye")
        for name in self._fs.listdir(self.room.root):
            self.room.errno(lambda name=name: self._fs.unlink(name, dir_fd=self.room.root))  # type: ignore[misc]
        self.room.remove()


def check_hosts(meeting: HostRendezvous, progress: Callable[[str], None]) -> Iterator[Check]:
    """Do all checks that need two hosts. Both report the same races, and each its own delay."""
    progress("how soon the other host sees a rename")
    delay = _delay(meeting)
    yield visible_check(delay)
    fs, room = meeting.room.fs, meeting.room
    progress("who wins O_EXCL")
    names = [f"excl{number}" for number in range(EXCL_ROUNDS)]
    _start(meeting, "excl", delay)
    won = [name for name in names if not room.errno(lambda name=name: room.put(room.a, name))]  # type: ignore[misc]
    theirs = set(meeting.both("made", won))
    yield exclusive_check(len(theirs & set(won)))

    progress("who wins a rename")
    sources = [f"race{number}" for number in range(RENAME_ROUNDS)]
    if meeting.first:
        for name in sources:
            room.put(room.a, name)
    meeting.both("put")
    meeting.wait(lambda: set(sources) <= set(fs.listdir(room.a)), "the sources of the race")
    _start(meeting, "race", delay)
    mine, losers = _race(meeting, sources)
    theirs = set(meeting.both("raced", mine))
    meeting.both("heard")
    meeting.wait(lambda: _all_there(room, sources), "the targets of the race")
    there = [name.rpartition(".")[0] for name in fs.listdir(room.b)]
    wins = [(name in mine) + (name in theirs) for name in sources]
    yield race_check(wins, [there.count(name) for name in sources], losers)


def _delay(meeting: HostRendezvous) -> float:
    """Return the seconds until the other host sees a rename: half of the shortest of a few round trips."""
    clock, times = meeting.room.fs.monotonic, []
    meeting.both("here")
    for number in range(_PINGS):
        start = clock()
        if meeting.first:
            meeting.say(f"ping{number}")
            meeting.hear(f"ping{number}")
        else:
            meeting.hear(f"ping{number}")
            start = clock()
            meeting.say(f"ping{number}")
            meeting.hear(f"pong{number}")
        times.append((clock() - start) / 2)
        if meeting.first:
            meeting.say(f"pong{number}")
    meeting.both("pinged")
    return min(times)


def _start(meeting: HostRendezvous, word: str, delay: float) -> None:
    """Wait for the common start of a race, at a time that the first host sets."""
    fs = meeting.room.fs
    if meeting.first:
        moment = fs.time_ns() / 1e9 + 1 + 3 * delay
        meeting.say(f"start {word}", [repr(moment)])
    else:
        moment = float(meeting.hear(f"start {word}")[0])
    fs.sleep(max(0.0, min(moment - fs.time_ns() / 1e9, 2 + 4 * delay)))


def _race(meeting: HostRendezvous, sources: list[str]) -> tuple[list[str], set[str]]:
    """Rename all files in an order that both hosts share; return those won, and the losers' errors."""
    room, end = meeting.room, "one" if meeting.first else "two"
    order = random.Random(0).sample(sources, len(sources))
    won, losers = [], set()
    for name in order:
        taken = f"{name}.{end}"
        number = room.errno(partial(room.fs.rename, name, taken, src_dir_fd=room.a, dst_dir_fd=room.b))
        if number:
            losers.add(named(number))
        else:
            won.append(name)
    return won, losers


def _all_there(room: ProbeDirectory, sources: list[str]) -> bool:
    there = {name.rpartition(".")[0] for name in room.fs.listdir(room.b)}
    return set(sources) <= there
