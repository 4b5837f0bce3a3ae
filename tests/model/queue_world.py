"""A spool and a Maildir on a simulated server, a ledger of what was promised, and the final reckoning.

A history puts, claims and finishes items through `Actor`, which keeps the ledger. Afterwards
`reckon` lets the faults stop, waits until nothing is under way, works the queue until it is empty,
and compares the Maildir with the ledger, file by file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from maildir_safe._delivery.partial import PartialPut
from maildir_safe._maildir.maildir import Maildir
from maildir_safe._queue.claim import Claim
from maildir_safe._queue.queue import Queue
from maildir_safe.errors import LeaseLost, TemporaryError, UnknownOutcome
from maildir_safe.testing.explore import menu
from maildir_safe.testing.simdisk import Mode
from maildir_safe.testing.simfs import Fault, SimHost, SimServer

SPOOL, MAIL = "/spool", "/mail"
LEASE = 300
_ENDS = {"ack": "acked", "deliver": "delivered", "fail": "given up", "release": "", "retry": ""}


def body_of(token: str) -> bytes:
    return f"Subject: {token}\n\nbody of {token}\n".encode()


@dataclass
class Entry:
    """What was promised about one message, by its token.

    `put`: ``accepted``, ``refused`` or ``unknown``. `end`: how its last claim ended: ``acked``,
    ``delivered``, ``given up``, or ``""``; with a question mark until the answer is "done".
    """

    put: str = "unknown"
    end: str = ""


@dataclass
class Ledger:
    entries: dict[str, Entry] = field(default_factory=dict)

    def copy(self) -> Ledger:
        return Ledger({token: Entry(entry.put, entry.end) for token, entry in self.entries.items()})


def new_server(profile: str = "local", mode: Mode = "atomic") -> SimServer:
    server = SimServer(profile, mode)
    maker = SimHost(server, "maker")
    Queue(SPOOL, fs=maker, heartbeat=False).close()
    Maildir(MAIL, fs=maker)
    server.advance(60.0)
    server.disk.sync_all()
    server.hosts.remove(maker)
    server.history.clear()
    return server


class Actor:
    """One host that uses the queue, and writes down every answer that it gets."""

    queue_class: type[Queue] = Queue

    def __init__(
        self, server: SimServer, ledger: Ledger, name: str = "a", faults: Iterable[Fault] = ()
    ) -> None:
        self.server = server
        self.ledger = ledger
        self.host = SimHost(server, name, faults=faults)
        self._queue: Queue | None = None
        self._maildir: Maildir | None = None
        self.lost = 0

    @property
    def queue(self) -> Queue:
        if self._queue is None:
            self._queue = self.queue_class(SPOOL, create=False, fs=self.host, heartbeat=False, lease=LEASE)
        return self._queue

    @property
    def maildir(self) -> Maildir:
        if self._maildir is None:
            self._maildir = Maildir(MAIL, create=False, fs=self.host)
        return self._maildir

    def put(self, *tokens: str, not_before: float | None = None) -> None:
        entries = [self.ledger.entries.setdefault(token, Entry()) for token in tokens]
        messages = [(body_of(token), "s@example.org", ["r@example.org"]) for token in tokens]
        results: list[object]
        try:
            if len(tokens) == 1:
                results = [self.queue.put(*messages[0], not_before=not_before)]
            else:
                results = list(self.queue.put_many(messages, not_before=not_before))
        except PartialPut as partial:
            results = list(partial.results)
        except TemporaryError as error:
            results = [error] * len(tokens)
        for entry, result in zip(entries, results, strict=True):
            unknown = isinstance(result, UnknownOutcome)
            entry.put = "accepted" if isinstance(result, str) else "unknown" if unknown else "refused"

    def claim(self, limit: int = 1, bounces: bool = False) -> list[Claim]:
        try:
            return self.queue.claim(limit, bounces=bounces)
        except TemporaryError:
            return []

    def claim_surely(self, limit: int = 1) -> list[Claim]:
        """Claim, again after a failure: the faults end."""
        for _ in range(3):
            claims = self.claim(limit)
            if claims:
                return claims
            self.host.sleep(1.0)
        return []

    def token(self, claim: Claim) -> str:
        for _ in range(3):
            try:
                return claim.read().partition(b"\n")[0].removeprefix(b"Subject: ").decode()
            except LeaseLost:
                raise
            except TemporaryError:
                self.host.sleep(1.0)
        return ""

    def end(self, claim: Claim, how: str) -> str:
        """End a claim: ``ack``, ``deliver``, ``release``, ``retry`` or ``fail``; the answer, in a word."""
        try:
            entry = self.ledger.entries[self.token(claim)]
        except LeaseLost:
            self.lost += 1
            return "lost"
        except KeyError:
            return "unread"
        before, entry.end = entry.end, _ENDS[how] + "?"
        asked = entry.end
        try:
            if how == "deliver":
                claim.ack_into(self.maildir)
            elif how == "retry":
                claim.retry(120.0)
            elif how == "fail":
                claim.fail("no such user")
            else:
                getattr(claim, how)()
        except LeaseLost:
            self.lost += 1
            # it was not this host's to say; another may have said something since. Only an unlink that was
            # executed before the fence, its reply lost, leaves nothing by which anybody could tell
            if entry.end is asked and not (how == "ack" and self._a_reply_was_lost("unlink")):
                entry.end = before
            return "lost"
        except UnknownOutcome:
            return "unknown"
        except TemporaryError:
            return "failed"
        if entry.end is asked:  # a return whose reply was lost: another has had it since
            entry.end = _ENDS[how]
        return "done"

    def _a_reply_was_lost(self, kind: str) -> bool:
        return any(hit.kind == kind and hit.effect in ("done", "late") for hit in self.host.plan.hits)

    def tend(self) -> None:
        try:
            self.queue.tend()
        except TemporaryError:
            pass


def delivered(server: SimServer) -> dict[str, int]:
    """How often each message is in the Maildir; every file there is complete."""
    found: dict[str, int] = {}
    for path, data in server.files().items():
        if path.startswith((f"{MAIL}/new/", f"{MAIL}/cur/")):
            head, _, message = data.partition(b"Delivered-To: r@example.org\n")
            token = message.partition(b"\n")[0].removeprefix(b"Subject: ").decode()
            assert head == b"Return-Path: <s@example.org>\n", f"{path} is damaged: {data!r}"
            assert message == body_of(token), f"{path} is damaged: {data!r}"
            found[token] = found.get(token, 0) + 1
    return found


def reckon(server: SimServer, ledger: Ledger) -> None:
    """Work the queue until it is empty; the Maildir must hold what the ledger promises, once."""
    server.settle()
    server.advance(4 * 86400.0)  # what was put for later is due
    last = Actor(server, Ledger(), f"last{len(server.hosts)}")
    for _ in range(40):
        for claim in last.queue.claim(100):
            claim.ack_into(last.maildir)
        stats = last.queue.stats()
        if not (stats["pending"] or stats["claimed"] or _fenced(server)):
            break
        server.advance(60.0)
    assert not stats["pending"], "the queue does not drain"
    assert not stats["claimed"], "a claim is stuck"
    assert not _fenced(server), "a fenced worker is not swept"
    assert not stats["corrupt"], "a good item was taken for unreadable"
    last.queue.close()
    found = delivered(server)
    for token, entry in ledger.entries.items():
        failed = sum(
            path.startswith(f"{SPOOL}/failed/") and body_of(token) in data
            for path, data in server.files().items()
        )
        _compare(token, entry, found.pop(token, 0), failed)
    assert not found, f"nobody put {found}"


def _compare(token: str, entry: Entry, copies: int, failed: int) -> None:
    """One message: how many copies there are, and how many there may be."""
    if entry.put == "refused":
        allowed = [(0, 0)]
    elif entry.end == "given up":
        allowed = [(0, 1)]
    elif entry.end == "acked":
        allowed = [(0, 0)]
    else:
        allowed = [(1, 0)]
        allowed += [(0, 1)] * (entry.end == "given up?")
        allowed += [(0, 0)] * (entry.end == "acked?" or entry.put == "unknown")
    assert (copies, failed) in allowed, f"{token}: {copies} copies, {failed} failed; {entry}"


def _fenced(server: SimServer) -> list[str]:
    return [path for path in server.files() if path.startswith(f"{SPOOL}/fenced/")]


def faults_of(server: SimServer, host: str) -> Iterator[Fault]:
    """Every fault that every call of this host in the server's history may have."""
    seen: dict[str, int] = {}
    for call in server.history:
        if call.host == host:
            seen[call.kind] = seen.get(call.kind, 0) + 1
            yield from menu(call, seen[call.kind], fine_times=False)
