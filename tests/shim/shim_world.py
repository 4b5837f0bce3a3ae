"""Programs that link and unlink, on simulated hosts, each under a shim: what the explorer explores.

The decisions, the handoffs and the ghosts are the real code; the kernel and the processes are not.
"""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

from maildir_safe._handoff.group_commit import UNSUPPORTED
from maildir_safe._maildir.maildir import Maildir
from maildir_safe._shim.actor import Actor, Place
from maildir_safe._shim.decisions import PASS_ON, Decisions
from maildir_safe._shim.ghosts import Ghosts, Owner
from maildir_safe._shim.pairs import Pairs
from maildir_safe._shim.report import Event, Report
from maildir_safe.errors import TemporaryError, UnknownOutcome
from maildir_safe.testing.invariants import Violation
from maildir_safe.testing.simfaults import PROFILES, Profile
from maildir_safe.testing.simfs import Fault, SimHost
from maildir_safe.testing.simworld import World

PROFILES.setdefault("nolink", Profile("nolink", "fuse", link_within=errno.EPERM, link_across=errno.EPERM))
PROFILES.setdefault(
    "nolink-local",
    Profile(
        "nolink-local", "fuse", network=False, link_within=errno.EPERM, link_across=errno.EPERM, noreplace=0
    ),
)


class SimActor(Actor):
    """Opens directories on a simulated host."""

    def __init__(self, host: SimHost) -> None:
        super().__init__(host, owns=lambda uid: True)  # noqa: ARG005
        self.host = host

    def open(self, wanted: list[tuple[int | None, str]]) -> list[Place]:
        places = []
        for _, path in wanted:
            above, _, name = path.rpartition("/")
            fd = self.host.open_dir(above)
            places.append(Place(fd, (1, self.host._handle(fd).ino), above, name))
        return places

    def close(self, places: list[Place]) -> None:
        for place in places:
            self.host.close(place.fd)


class Recorder(Report):
    """Remembers the last event instead of telling people."""

    last: Event | None = None

    def tell(self, event: Event) -> None:
        self.last = event


class Shimmed:
    """A process under the shim of its host: link and unlink as it sees them.

    Args:
        host: where it runs.
        pid: its number.
    """

    def __init__(self, host: SimHost, pid: int = 7, durable: bool = True) -> None:
        self.host = host
        self.report = Recorder()
        self.ghosts = Ghosts(lambda process: True)  # noqa: ARG005
        self.decisions = Decisions(Pairs(), self.ghosts, self.report, durable=durable)
        self.actor = SimActor(host)
        self.owner = Owner((pid, 1), None, 0)
        self.caller: Any = SimpleNamespace(tgid=pid, command="program")

    def link(self, src: str, dst: str) -> int:
        """The errno that the program is told, or 0."""
        self.report.last = None
        try:
            places = self.actor.open([(None, src), (None, dst)])
        except OSError as error:
            return error.errno or errno.EIO
        try:
            answer = self.decisions.link(self.actor, *places, lambda: self.owner, self.caller, lambda: None)
            if answer is PASS_ON:
                answer = self.actor.link(*places)
        except OSError:
            answer = errno.EIO
        finally:
            self._close(places)
        return answer

    def unlink(self, path: str) -> int:
        """The errno that the program is told, or 0."""
        try:
            places = self.actor.open([(None, path)])
        except OSError as error:
            return error.errno or errno.EIO
        try:
            answer, ghost = self.decisions.unlink(self.actor, places[0], lambda: self.owner, self.caller)
            if answer is PASS_ON:
                answer = self.actor.unlink(places[0])
            if ghost is not None:
                self.ghosts.settle(ghost, used=answer in (0, errno.ENOENT))
        except OSError:
            answer = errno.EIO
        finally:
            self._close(places)
        return answer

    def _close(self, places: list[Place]) -> None:
        try:
            self.actor.close(places)
        except OSError:
            pass

    def write(self, path: str, data: bytes) -> bool:
        """Make a file, as a program does that checks everything; whether it succeeded."""
        above, _, name = path.rpartition("/")
        try:
            directory = self.host.open_dir(above)
            fd = self.host.create(name, directory)
            left = data
            while left:
                left = left[self.host.write(fd, left) :]
            self.host.fsync(fd)
            self.host.close(fd)
        except OSError:
            return False
        return True

    def exists(self, path: str) -> bool:
        above, _, name = path.rpartition("/")
        return name in self.host.listdir(self.host.open_dir(above))


class QmailLocal:
    """A Maildir as qmail-local delivers into it, under the shim.

    What the program is told as an error may have been an unknown outcome, which link() has no word
    for; the ledger is told the difference, since it checks what the shim promises.
    """

    def __init__(self, path: str, host: SimHost, names: list[str] | None = None) -> None:
        self._path = path
        self._program = Shimmed(host)
        self._names = names
        self._number = 0

    def deliver(self, body: bytes, delivery_id: str | None = None) -> Any:  # noqa: ARG002
        self._number += 1
        name = self._names.pop(0) if self._names else f"{self._number}.Q1.{self._program.host.name}"
        host = self._program.host
        tmp, new = f"{self._path}/tmp/{name}", f"{self._path}/new/{name}"
        if not self._program.write(tmp, body):
            raise TemporaryError("not written")
        error = self._program.link(tmp, new)
        event = self._program.report.last
        self._program.unlink(tmp)
        if error:
            unknown = event is not None and event.what == "unknown"
            after = event is not None and event.what in ("renamed", "linked", "reply lost")
            if unknown or after or (error == errno.EIO and event is None):
                raise UnknownOutcome("the fsync failed, or nobody can tell", new)
            raise TemporaryError(f"link: {error}")
        durable = not (
            host.profile.fsync_dir or host.profile.write_back or any(map(_without_fsync, host.plan.hits))
        )
        return SimpleNamespace(durability="full" if durable else "file", key=name)


def _without_fsync(fault: Fault) -> bool:
    """Whether it makes the mount one that cannot fsync directories, so that nothing more can be promised."""
    return fault.kind == "fsync_dir" and fault.error in UNSUPPORTED


def under_shim(world: World, *names: str) -> None:
    """Hosts a and b deliver by link() and unlink(); who recovers, r, by our own Maildir."""
    given = {name: list(names) for name in ("a", "b")}

    def make(path: str, host: SimHost) -> Any:
        if host.name in given:
            return QmailLocal(path, host, given[host.name])
        return Maildir(path, create=False, fs=host)

    world.make = make


def one(world: World) -> None:
    """One message by a program under the shim."""
    under_shim(world)
    world.deliver("one")


def two_hosts(world: World) -> None:
    """Two hosts, each with a shim of its own, deliver into one Maildir at the same time."""
    under_shim(world)
    world.together([("a", lambda: world.deliver("one", "a")), ("b", lambda: world.deliver("two", "b"))])


def same_name(world: World) -> None:
    """Two programs choose the same name, one after the other: the second must be told EEXIST."""
    under_shim(world, "same.Q1.host")
    world.deliver("two", "b")
    world.deliver("one", "a")


def a_lock(world: World) -> None:
    """Two hosts take a lock by a link inside one directory; where links are refused, nobody has it."""
    took = []
    for name in ("a", "b"):
        program = Shimmed(world.host(name))
        mine = f"/mail/tmp/lock.{name}"
        if program.write(mine, b"") and program.link(mine, "/mail/tmp/lock") == 0:
            took.append(name)
        program.unlink(mine)
        if program.exists("/mail/tmp/lock"):
            program.unlink("/mail/tmp/lock")  # whoever finds it stale, or holds it, takes it away
    if took and world.server.profile.link_within:
        raise Violation("I2", f"a lock was taken by {took} where links are refused: it was a rename")


def a_name_that_comes_back(world: World) -> None:
    """After its handoff another file has the old name: to unlink it must remove it."""
    program = Shimmed(world.host("a"))
    program.write("/mail/tmp/x", b"one")
    world.ledger.begin("one", b"one", False)
    if program.link("/mail/tmp/x", "/mail/new/x") == 0:
        world.ledger.entries["one"].acked = 1
        program.write("/mail/tmp/x", b"other")
        if program.unlink("/mail/tmp/x") == 0 and program.exists("/mail/tmp/x"):
            raise Violation("I5", "the program was told that a file is gone which is there")


def unlinked_twice(world: World) -> None:
    """The old name is unlinked twice: the second time it is not there."""
    program = Shimmed(world.host("a"))
    program.write("/mail/tmp/x", b"one")
    world.ledger.begin("one", b"one", False)
    if program.link("/mail/tmp/x", "/mail/new/x") == 0:
        world.ledger.entries["one"].acked = 1
        answers = [program.unlink("/mail/tmp/x"), program.unlink("/mail/tmp/x")]
        if answers != [0, errno.ENOENT]:
            raise Violation("I5", f"two unlinks of one name were told {answers}")
