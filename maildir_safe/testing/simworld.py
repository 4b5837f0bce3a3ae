"""A small world for histories: a server with Maildirs, hosts, a ledger, and a check at every call.

A history is a function that is given a `World` and delivers, reads and cleans by its methods. The
same history runs without faults, with every fault, on every profile, and is crashed everywhere.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence

from maildir_safe._delivery.attempt import JANITOR_AGE
from maildir_safe._delivery.partial import PartialDelivery
from maildir_safe._delivery.receipt import Receipt
from maildir_safe._maildir.maildir import Maildir
from maildir_safe.errors import PermanentError, TemporaryError, UnknownOutcome
from maildir_safe.testing.invariants import Ledger, Violation
from maildir_safe.testing.simcrash import Choice, Mode
from maildir_safe.testing.simdisk import ROOT
from maildir_safe.testing.simfaults import Fault, Profile
from maildir_safe.testing.simhost import SimHost
from maildir_safe.testing.simsched import Choose, interleave
from maildir_safe.testing.simserver import EPOCH, Call, SimServer

MAIL = "/mail"
OTHER = "/other"
_TREE = [*(f"{box}{sub}" for box in (MAIL, OTHER) for sub in ("", "/tmp", "/new", "/cur"))]


def body_of(token: str) -> bytes:
    """Return the message for a token; all messages differ."""
    return f"Subject: {token}\n\n{token * 8}\n".encode()


class World:
    """The world in which a history acts.

    Args:
        profile, mode: see `SimServer`.
        faults: what goes wrong, on the host named `faulty`.
        server, ledger: go on from these instead (recovery after a crash).
        choose: picks the host that continues at each call in `together` (`simsched.interleave`).

    Attributes:
        make: how a Maildir is opened: ``make(path, host)``; mutants replace it.
        observer: called at every file call and every answer.
        calls: what the history's file calls were, when it has ended.
        violation: the first invariant that did not hold.
        contested: the history lets two hosts change one message, so that some file systems
            end in a conflict.
    """

    def __init__(
        self, profile: str | Profile = "local", mode: Mode = "atomic", faults: Iterable[Fault] = (), *,
        faulty: str = "a", seed: int = 0, server: SimServer | None = None, ledger: Ledger | None = None,
        choose: Choose = lambda step, count: 0,  # noqa: ARG005
    ) -> None:  # fmt: skip
        if server is None:
            server = SimServer(profile, mode)
            server.put_tree(*_TREE)
        self.server = server
        self.ledger = ledger or Ledger()
        self.choose = choose
        self.steps = 0
        self.calls: list[Call] = []
        self.violation: Violation | None = None
        self.contested = False
        self.observer: Callable[[World], None] | None = None
        self.make: Callable[[str, SimHost], Maildir] = lambda path, host: Maildir(path, create=False, fs=host)
        self._faults = {faulty: tuple(faults)}
        self._seed = seed
        self._hosts: dict[str, SimHost] = {}
        self._boxes: dict[tuple[str, str], Maildir] = {}
        server.after_call = self._called

    def host(self, name: str = "a", clock_offset: float = 0.0) -> SimHost:
        """Return the host of this name; it is made on first use."""
        if name not in self._hosts:
            faults = self._faults.get(name, ())
            self._hosts[name] = SimHost(
                self.server, name, clock_offset=clock_offset, seed=self._seed, faults=faults
            )
        return self._hosts[name]

    def box(self, host: str = "a", path: str = MAIL) -> Maildir:
        """Return a Maildir that a host has open."""
        if (host, path) not in self._boxes:
            self._boxes[host, path] = self.make(path, self.host(host))
        return self._boxes[host, path]

    # -- observation ----------------------------------------------------------------------

    def _called(self, _: Call) -> None:
        self.observe()

    def observe(self) -> None:
        """Check now; keep the first violation, since the code under test would swallow it."""
        if self.observer and not self.violation:
            try:
                self.observer(self)
            except Violation as violation:
                self._found(violation)

    def check(self, *, present: bool | None = None, settled: bool = False) -> None:
        """Raise `Violation` unless the invariants hold for the present files.

        Args:
            present: see `Ledger.check`.
            settled: nothing is under way. Until then the two names of a file that a file system has
                left it (``both`` of `simfaults.Fault`) count as one: nobody could have looked yet.
        """
        if present is None:
            present = not self.server.profile.write_back
        healed = any(fault.effect == "both" for host in self.server.hosts for fault in host.plan.hits)
        files = self.server.files(each_once=healed and not settled)
        self.ledger.check(files, present=present)
        for host in self.server.hosts if self.server.profile.write_back else ():
            self.ledger.complete(dict(host.view.files()))

    def after_crash(self, choice: Choice) -> World:
        """Return the world after a crash now; this world continues."""
        ledger = self.ledger.copy()
        ledger.crashed()
        world = World(server=self.server.crashed(choice), ledger=ledger, seed=self._seed + 1)
        world.make = self.make
        world.contested = self.contested
        return world

    # -- what histories do ----------------------------------------------------------------

    def deliver(self, token: str, host: str = "a", *, with_id: bool = False, path: str = "") -> str:
        """Deliver the message of a token; return ``"acked"``, ``"refused"`` or ``"unknown"``."""
        entry = self.ledger.begin(token, body_of(token), with_id)
        entry.box = path or entry.box or MAIL
        plan = self.host(host).plan
        struck = len(plan.hits)
        try:
            receipt = self.box(host, entry.box).deliver(entry.body, delivery_id=token if with_id else None)
        except UnknownOutcome as error:
            entry.unknown += 1
            answer = "unknown"
            entry.key = (error.path or "").rpartition("/")[2]
        except TemporaryError:
            entry.refused += 1
            answer = "refused"
        except Exception as error:  # noqa: BLE001 - a caller cannot tell who owns the message
            self._found(Violation("I5", f"deliver raised {error!r}"))
            answer = "unknown"
            entry.unknown += 1
        else:
            entry.acked += 1
            entry.durability = receipt.durability
            entry.key = receipt.key
            answer = "acked"
        if answer == "unknown":
            entry.strays += any(fault.effect == "late" for fault in plan.hits[struck:])
        entry.under_way = False
        self.observe()
        return answer

    def deliver_many(self, *tokens: str, host: str = "a") -> None:
        """Deliver the messages of these tokens as one group."""
        entries = [self.ledger.begin(token, body_of(token), False) for token in tokens]
        results: Sequence[Receipt | BaseException]
        try:
            results = self.box(host).deliver_many([entry.body for entry in entries])
        except PartialDelivery as partial:
            results = partial.results
        except TemporaryError as error:
            results = [error] * len(entries)
        for entry, result in zip(entries, results, strict=True):
            entry.under_way = False
            if isinstance(result, Receipt):
                entry.acked += 1
                entry.durability = result.durability
            elif isinstance(result, UnknownOutcome):
                entry.unknown += 1
            else:
                entry.refused += 1
        self.observe()

    def flag(self, token: str, flags: str, host: str = "b") -> str:
        """Set a message's flags; return ``"done"``, ``"failed"`` or ``"unknown"``."""
        return self._change(token, {(MAIL, flags)}, lambda box, key: box.set_flags(key, flags), host)

    def move(self, token: str, host: str = "b") -> str:
        """Move a message with its flags from `MAIL` to `OTHER`; return as `flag`."""
        target = {(OTHER, flags) for _, flags in self._places(token)}
        return self._change(token, target, lambda box, key: box.move(key, self.box(host, OTHER)), host)

    def _places(self, token: str) -> set[tuple[str, str]]:
        entry = self.ledger.entries[token]
        if entry.places is None:
            entry.places = {(MAIL, "")}
        return entry.places

    def _change(
        self, token: str, target: set[tuple[str, str]], act: Callable[[Maildir, str], object], host: str
    ) -> str:
        entry, before = self.ledger.entries[token], self._places(token).copy()
        entry.places = before | target
        try:
            act(self.box(host), entry.key)
        except UnknownOutcome:
            answer = "unknown"
            entry.second_names += any(fault.effect == "both" for fault in self.host(host).plan.hits)
        except (TemporaryError, KeyError) as error:
            answer = "failed"
            entry.places = before
            if self.server.profile.listing:  # a cache may have hidden the second name from whoever looked
                entry.second_names += any(fault.effect == "both" for fault in self.host(host).plan.hits)
            if isinstance(error, KeyError) and not entry.loose and not self._may_be_unseen(host):
                self._found(Violation("I6", f"{token} is there and was not found"))
        else:
            answer = "done"
            entry.places = target
            if self._no_directory_fsync(host):
                entry.durability = "file"
        entry.loose = entry.loose or self._may_happen_later(host)
        self.observe()
        return answer

    def _may_happen_later(self, host: str) -> bool:
        """Report whether the outcome is undecidable: a request is pending, or a cache hides its effect."""
        unseen = ("late", "done") if self.server.profile.listing else ("late",)
        return any(fault.effect in unseen for fault in self.host(host).plan.hits)

    def _may_be_unseen(self, host: str) -> bool:
        """Report whether this host's caches, listings or lost replies may hide the message."""
        cached = self.server.profile.write_back or self.server.profile.listing
        hits = self.host(host).plan.hits
        missed = sum(fault.kind == "listdir" and not fault.error for fault in hits)
        return bool(cached) or missed > 1 or (missed > 0 and any(fault.effect == "done" for fault in hits))

    def _no_directory_fsync(self, host: str) -> bool:
        hits = self.host(host).plan.hits
        return self.server.profile.fsync_dir != 0 or any(
            fault.kind == "fsync_dir" and fault.error == errno.EINVAL for fault in hits
        )

    def may_try_again(self, token: str) -> bool:
        """Report whether a retry with the same id must end in one copy; not once the message was moved."""
        entry = self.ledger.entries[token]
        stayed = entry.places is None or all(box == MAIL for box, _ in entry.places)
        return entry.has_id and not entry.acked and not entry.removed and stayed

    def discard(self, token: str, host: str = "b") -> str:
        """Remove a message; return ``"done"`` or ``"failed"``."""
        entry = self.ledger.entries[token]
        entry.removed = True
        try:
            entry.gone = self.box(host).discard(entry.key)
        except TemporaryError:
            pass
        self.observe()
        return "done" if entry.gone else "failed"

    def read(self, host: str = "b", path: str = MAIL) -> int:
        """Open and read every message that this host sees; return how many could be read."""
        count = 0
        try:
            box = self.box(host, path)
            for message in list(box.messages()):
                try:
                    with box.open(message.key) as file:
                        data = file.read()
                except PermanentError as damaged:
                    self._found(Violation("I3", f"{host} read {message}: {damaged}"))
                    continue
                except (KeyError, OSError, TemporaryError):
                    continue  # another was faster, or a fault
                count += 1
                if all(data != entry.body for entry in self.ledger.entries.values()):
                    self._found(Violation("I3", f"{host} read {str(data)[:60]} from {message}"))
        except TemporaryError:
            pass
        return count

    def clean(self, host: str = "b") -> bool:
        """Let the janitor sweep; return whether it could."""
        try:
            self.box(host).clean()
        except TemporaryError:
            return False
        self.observe()
        return True

    def litter(self, name: str, age: float) -> str:
        """Make a file in tmp/ that is this many seconds old by the server's clock; return its path."""
        path = f"{MAIL}/tmp/{name}"
        disk = self.server.disk
        parent = disk.lookup(disk.lookup(ROOT, MAIL[1:]).ino, "tmp").ino
        node = disk.create(parent, name, self.server.new_ino())
        node.mtime = node.atime = int((EPOCH + self.server.now - age) * 1e9)
        disk.sync_all()
        self.server.version += 1
        if age < JANITOR_AGE:
            self.ledger.young.add(path)
        return path

    def _found(self, violation: Violation) -> None:
        self.violation = self.violation or violation

    def together(self, tasks: Sequence[tuple[str, Callable[[], object]]]) -> None:
        """Run tasks on several hosts at once; `choose` picks the host that continues at each call."""

        def choose(step: int, count: int) -> int:
            self.steps = step
            return self.choose(step, count)

        for _, error in interleave(self.server, [(self.host(name), task) for name, task in tasks], choose):
            if error is not None:
                raise error
