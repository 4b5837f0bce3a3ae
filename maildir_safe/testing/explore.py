"""Explores small histories exhaustively: every crash point, every subset that a crash may keep, every fault.

    report = Explorer(deliver_one, "nfs3").single().report()

A run of a history makes file calls. The explorer checks the invariants after each call, and of
every outcome that a crash at that moment may have (`simdisk`); from each distinct crash state it
starts again on new hosts, delivers what was not acknowledged a second time, sweeps and reads
(`recover`), crashing that at every call too. Then it repeats the run with every fault of the
`menu` at every call, and, for `pairs`, with every second fault after every first one.

Figures are printed with their bounds. Distinct states are counted without the random parts of names.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from maildir_safe.testing.invariants import Violation, place
from maildir_safe.testing.simcrash import Choice, Mode
from maildir_safe.testing.simfaults import LOST_REPLY, PROFILES, REPEATED_BY_KERNEL, Fault, Kind
from maildir_safe.testing.simserver import Call
from maildir_safe.testing.simworld import World

History = Callable[[World], None]

CRASH_LIMIT = 4096
"""The most outcomes of one crash that are checked; `Figures.cut` counts how often there were more."""

SETTLE_CALLS = 60
"""The most file calls that a message may need once faults have stopped (I9)."""

FOREVER = 10**6

_ERRORS: dict[Kind, tuple[int, ...]] = {
    "open_dir": (errno.EIO, errno.ESTALE, errno.ENOENT),
    "create": (errno.EIO, errno.ENOSPC, errno.ESTALE),
    "write": (0, errno.ENOSPC, errno.EIO),
    "fsync": (errno.EIO, errno.EDQUOT),
    "fsync_dir": (errno.EIO,),
    "syncfs": (errno.EIO,),
    "close": (errno.EIO, errno.EDQUOT),
    "rename": (errno.EIO, errno.ESTALE, errno.ENOSPC, errno.EXDEV, errno.EACCES),
    "unlink": (errno.EIO, errno.EACCES),
    "listdir": (errno.EIO, errno.ESTALE),
    "stat": (errno.EIO, errno.ESTALE),
    "open": (errno.EIO, errno.ESTALE),
    "read": (errno.EIO, errno.EAGAIN, 0),
}


def menu(call: Call, nth: int, fine_times: bool) -> Iterator[Fault]:
    """Return every fault that this call, the `nth` of its kind, may have.

    A listing of cur/ may omit a name that is renamed concurrently. This is visible in the directory's
    time of change, so this is only tried where times are finer than a second (`fine_times`).
    """
    kind: Kind = call.kind  # type: ignore[assignment]
    for code in _ERRORS.get(kind, ()):
        yield Fault(kind, code, nth=nth, times=2 if _is_repeated(kind, code) else 1)
    if kind in REPEATED_BY_KERNEL:
        yield Fault(kind, errno.ESTALE, nth=nth)
    if kind in ("create", "fsync", "fsync_dir", "write"):
        yield Fault(kind, errno.EINTR, nth=nth)
    if kind == "create":  # repeated under the same name, and the first is executed some time later
        yield Fault(kind, errno.ESTALE, "late", nth=nth, delay=3.0)
    if kind == "fsync_dir" and nth == 1:  # a mount without it never has it
        yield Fault(kind, errno.EINVAL, times=FOREVER)
    if kind in LOST_REPLY:
        yield Fault(kind, errno.EIO, "done", nth=nth)
        yield Fault(kind, LOST_REPLY[kind], "done", nth=nth)
    if kind in ("rename", "unlink"):
        yield Fault(kind, errno.EIO, "late", nth=nth, delay=0.5)
        yield Fault(kind, errno.ETIMEDOUT, "late", nth=nth, delay=100.0)
    if kind in ("rename", "fsync", "fsync_dir", "listdir"):
        yield Fault(kind, errno.EIO, nth=nth, times=FOREVER)
    if kind == "mkdir":  # a directory that is not there is said to be
        yield Fault(kind, errno.EEXIST, nth=nth)
    if kind == "rename":
        yield Fault(kind, errno.EIO, "both", nth=nth)
        yield Fault(kind, errno.EIO, "late", nth=nth, times=FOREVER, delay=100.0)
        yield Fault(kind, errno.EIO, "done", nth=nth, times=FOREVER)
    if kind == "listdir" and call.names.endswith("/cur") and fine_times:
        yield Fault(kind, 0, nth=nth, hides="Q")  # every unique name has one
    if kind == "listdir" and call.names.endswith("/new"):
        yield Fault(kind, 0, nth=nth, hides="Q", quiet=True)


def _is_repeated(kind: str, code: int) -> bool:
    """Report whether the kernel repeats such a call before the code under test sees the error."""
    return code == errno.ESTALE and kind in REPEATED_BY_KERNEL


def faults_after(world: World, host: str, after: int = 0) -> Iterator[Fault]:
    """Return every fault of every call that `host` made in a run, from its call number `after` on."""
    seen: dict[str, int] = {}
    mine = [call for call in world.calls if call.host == host]
    fine_times = world.server.profile.mtime_step < 10**9
    for number, call in enumerate(mine):
        nth = seen[call.kind] = seen.get(call.kind, 0) + 1
        if number >= after:
            yield from menu(call, nth, fine_times)
            yield Fault("any", errno.ETIMEDOUT, nth=number + 1, times=4)
            yield Fault("any", errno.EIO, nth=number + 1, times=FOREVER)


@dataclass(slots=True)
class Figures:
    """Counts of what was explored: the bounds of the result."""

    runs: int = 0
    calls: int = 0
    crashes: int = 0
    cut: int = 0
    states: set[object] = field(default_factory=set)

    def __str__(self) -> str:
        cut = f", {self.cut} crash points with more than {CRASH_LIMIT} outcomes cut" if self.cut else ""
        return (
            f"{self.runs} runs, {self.calls} file calls, {self.crashes} crashes, "
            f"{len(self.states)} distinct states{cut}"
        )


class Explorer:
    """Runs one history on one profile in every way.

    Args:
        history: the history to explore.
        profile, mode: see `SimServer`.
        faulty: the host that has the faults.
        prepare: called with each new world before it runs (mutants replace `World.make`).
        crash: also look at every crash.
        seed: the seed of the samples.

    Raises (all methods):
        Violation: with the history of file calls and the faults that led to it.
    """

    def __init__(
        self, history: History, profile: str, mode: Mode = "atomic", *, faulty: str = "a",
        prepare: Callable[[World], None] = lambda world: None,  # noqa: ARG005
        crash: bool = True, seed: int = 0,
    ) -> None:  # fmt: skip
        self.history = history
        self.profile = PROFILES[profile]
        self.mode: Mode = mode
        self.faulty = faulty
        self.prepare = prepare
        self.crash = crash
        self.seed = seed
        self.figures = Figures()

    def run(self, *faults: Fault, choose: Callable[[int, int], int] | None = None) -> World:
        """Do one run and check it at every call; then faults stop, and everything must come to rest."""
        world = World(self.profile, self.mode, faults, faulty=self.faulty)
        if choose:
            world.choose = choose
        self.prepare(world)
        # two names of one file that a crash keeps are two for ever: nobody has promised otherwise
        world.observer = _Watch(self, self.crash and not any(fault.effect == "both" for fault in faults))
        try:
            with _no_collector():
                self.history(world)
                world.observer = None
                world.calls = world.server.history.copy()
                self._raise(world)
                settle(world)
                self._raise(world)
        except Violation as violation:
            plan = ", ".join(map(str, faults)) or "none"
            text = f"{violation.text}\n  profile {self.profile.name}, mode {self.mode}, faults: {plan}"
            raise Violation(violation.name, text, violation.history or world.server.history) from violation
        self.figures.runs += 1
        self.figures.calls += len(world.calls)
        return world

    def _raise(self, world: World) -> None:
        if world.violation:
            raise world.violation

    def single(self) -> Explorer:
        """Run without a fault, and with every single fault."""
        for fault in faults_after(self.run(), self.faulty):
            self.run(fault)
        return self

    def pairs(self, keep: Callable[[int], bool] = lambda number: True) -> Explorer:  # noqa: ARG005
        """Run with every two faults, the second at or after the first; `keep` may skip some, by number."""
        number = 0
        for first in faults_after(self.run(), self.faulty):
            world = self.run(first)
            calls = [call for call in world.calls if call.host == self.faulty]
            struck = next((at for at, call in enumerate(calls, 1) if "fault" in call.outcome), len(calls))
            for second in faults_after(world, self.faulty, struck):
                number += 1
                if keep(number):
                    self.run(first, second)
        return self

    def sampled(self, count: int, faults: int = 3) -> Explorer:
        """Do `count` runs with a number of faults each, chosen at random from the seed."""
        rng = random.Random(f"{self.seed}/{self.profile.name}/{self.history.__name__}")
        choices = list(faults_after(self.run(), self.faulty))
        for _ in range(count):
            self.run(*rng.sample(choices, faults))
        return self

    def switches(self, most: int = 2, every: int = 1) -> Explorer:
        """Run the history's tasks in all orders with at most `most` (1 or 2) switches between hosts."""
        steps = self.run().steps + 1
        for first in range(0, steps, every):
            length = self.run(choose=_switch_at(first)).steps + 1
            for second in range(first + 1, length, every) if most > 1 else ():
                self.run(choose=_switch_at(first, second))
        return self

    def report(self) -> str:
        """Return the figures in one line."""
        name = self.history.__name__
        return f"{name:24} {self.profile.name:8} {self.mode:8} {self.figures}"


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    """Turn garbage collection off, since collected objects close descriptors at unpredictable moments."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _switch_at(*steps: int) -> Callable[[int, int], int]:
    return lambda step, count: 1 if step in steps and count > 1 else 0


class _Watch:
    """The observer of one run: checks the present files, and the files after every possible crash."""

    def __init__(self, explorer: Explorer, crash: bool, recovering: bool = False) -> None:
        self.explorer = explorer
        self.crash = crash
        self.recovering = recovering
        self.last: object = None
        self.seen: set[object] = set()

    def __call__(self, world: World) -> None:
        now = (world.server.version, repr(world.ledger.entries))
        if now == self.last:
            return
        self.last = now
        world.check()
        if self.crash:
            self._crash(world, now[1])

    def _crash(self, world: World, ledger: str) -> None:
        figures = self.explorer.figures
        for number, choice in enumerate(world.server.disk.choices()):
            if number == CRASH_LIMIT:
                figures.cut += 1
                break
            figures.crashes += 1
            outcome = (choice.names, choice.contents, ledger)
            if outcome not in self.seen:
                self.seen.add(outcome)
                try:
                    self._look(world, choice, ledger)
                except Violation as violation:
                    kept = f"{sorted(choice.kept)} of {world.server.disk.pending}"
                    text = f"{violation.text}\n  after a crash that kept {kept}"
                    raise Violation(violation.name, text, violation.history) from violation

    def _look(self, world: World, choice: Choice, ledger: str) -> None:
        files = world.server.disk.files_after(choice)
        world.ledger.check(files, crash=True, present=not world.server.profile.write_back)
        state = (self.recovering, _reduced(files), ledger)
        if state not in self.explorer.figures.states:
            self.explorer.figures.states.add(state)
            if not self.recovering:
                self._recover(world.after_crash(choice))

    def _recover(self, world: World) -> None:
        world.observer = _Watch(self.explorer, self.crash, recovering=True)
        try:
            settle(world)
        except Violation as violation:
            world.violation = world.violation or violation
        if world.violation:
            text = f"in recovery: {world.violation.name}: {world.violation.text}"
            raise Violation("I8", text, world.server.history)


def settle(world: World) -> None:
    """Stop the faults and deliver again all messages with an id and no answer; then all must come to rest.

    Raises:
        Violation: I9 if it does not, or what else does not hold when it has.
    """
    server = world.server
    for host in server.hosts:
        host.plan.faults = ()
    server.settle()
    if server.conflicts and not world.contested:
        raise Violation("I1", f"mail is hidden by a conflict: {server.conflicts}")
    again = [token for token in world.ledger.entries if world.may_try_again(token)]
    before = len(server.history)
    for token in again:
        answer = world.deliver(token, "r", with_id=True)
        if answer != "acked":
            raise Violation("I9", f"{token} is {answer} though nothing goes wrong any more")
    world.clean("r")
    calls = len(server.history) - before
    server.settle()
    world.read("r")
    if calls > SETTLE_CALLS * (len(again) + 1):
        raise Violation("I9", f"it took {calls} calls to settle")
    world.check(present=not server.conflicts, settled=True)


def _reduced(files: dict[str, bytes]) -> frozenset[object]:
    """Return the files without the random parts of their names."""
    return frozenset((place(path), path.rpartition("/")[0], data) for path, data in files.items())
