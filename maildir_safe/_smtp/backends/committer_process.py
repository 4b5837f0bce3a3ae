"""The committer: a process that stores the messages of one file system for a server's event loop.

It has an interpreter of its own, so that its file calls do not wait for the lock that the event loop holds,
and the event loop does not wait for them. It works for one server process, reads batches from its standard
input, a socket, and writes what became of each. It ends when the server closes the socket or dies. A batch
that it has begun is finished all the same.

A message is stored by `Maildir.deliver_many` or `Queue.put_many`, as everywhere. What was certainly not
stored is given back (`GIVEN_BACK`): the server then stores it itself, and so finds the error for the client.
"""

from __future__ import annotations

import marshal
import signal
import socket
import struct
import sys
import threading
from typing import TYPE_CHECKING

from maildir_safe._delivery.partial import PartialDelivery, PartialPut
from maildir_safe._fs.owner import as_owner
from maildir_safe._mailboxes import Mailboxes, open_as_owner
from maildir_safe._queue.queue import Queue
from maildir_safe._smtp.server.metered_fs import MeteredFileSystem
from maildir_safe.errors import MaildirSafeError, UnknownOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, BinaryIO

    from maildir_safe._delivery.receipt import Receipt
    from maildir_safe._maildir.maildir import Maildir

    Pieces = tuple[bytes, ...]
    Told = tuple[Any, ...]

AT_ONCE = 2
"""Batches in progress: while one is on disk, the files of the next are written."""

READY = b"ready"
"""What the process says once it takes batches."""

STORED, UNKNOWN, GIVEN_BACK = "stored", "unknown", "given back"
"""What became of a message; see `ToMaildirs.store`."""

MAILDIRS, QUEUE = "maildirs", "queue"
"""Where a committer stores."""

_LENGTH = struct.Struct("!I")
_KEPT_OPEN = 64


def packed(content: Any) -> bytes:
    """Plain data as a frame: its length, then its bytes. Both ends run the same interpreter."""
    data = marshal.dumps(content)
    return _LENGTH.pack(len(data)) + data


def unpacked(buffer: bytearray) -> list[Any]:
    """Take all complete frames from the beginning of a buffer."""
    found, start = [], 0
    while len(buffer) - start >= _LENGTH.size:
        end = start + _LENGTH.size + _LENGTH.unpack_from(buffer, start)[0]
        if len(buffer) < end:
            break
        found.append(marshal.loads(bytes(buffer[start + _LENGTH.size : end])))
        start = end
    del buffer[:start]
    return found


class Times:
    """What a batch adds to the server's metrics; takes the place of its `Counters`.

    Attributes:
        fsyncs: how long each took, in seconds.
        ambiguous_renames: how many renames failed.
    """

    def __init__(self) -> None:
        self.fsyncs: list[float] = []
        self.ambiguous_renames = 0
        self._lock = threading.Lock()

    def fsync(self, seconds: float) -> None:
        """See `Counters.fsync`."""
        with self._lock:
            self.fsyncs.append(seconds)

    def ambiguous_rename(self) -> None:
        """See `Counters.ambiguous_rename`."""
        with self._lock:
            self.ambiguous_renames += 1

    def taken(self) -> tuple[list[float], int]:
        """Everything since the last call."""
        with self._lock:
            fsyncs, self.fsyncs = self.fsyncs, []
            renames, self.ambiguous_renames = self.ambiguous_renames, 0
        return fsyncs, renames


class ToMaildirs:
    """Stores batches in Maildirs.

    Args:
        times: records what the metrics count.
        staging: where messages are written first, as for `Maildir`; ``""``: as its mount needs it.
    """

    def __init__(self, times: Times, staging: str = "") -> None:
        fs = MeteredFileSystem(times)
        self._maildirs = Mailboxes(
            lambda path: [path],
            lambda path: open_as_owner(path, fs, staging=staging or None),
            kept_open=_KEPT_OPEN,
        )

    def store(self, jobs: Sequence[tuple[str, Pieces, int]]) -> list[Told]:
        """Store messages, those for one Maildir together.

        Args:
            jobs: of each message the Maildir's path, the pieces, and the number of bytes for which a quota
                is checked; -1: none is.

        Returns:
            For each message ``(STORED, key, durability, size, renames)``, ``(UNKNOWN, text, path)``, or
            ``(GIVEN_BACK,)``: not stored, and nothing of it is left behind.
        """
        results: list[Told] = [(GIVEN_BACK,)] * len(jobs)
        places: dict[str, list[int]] = {}
        for number, (path, _, _) in enumerate(jobs):
            places.setdefault(path, []).append(number)
        for path, numbers in places.items():
            try:
                maildir = self._maildirs.open(path)
                allowed = [number for number in numbers if _has_room(maildir, jobs[number][2])]
            except (MaildirSafeError, OSError):
                self._maildirs.forget(path)
                continue
            outcomes = _delivered(maildir, [jobs[number][1] for number in allowed])
            for number, outcome in zip(allowed, outcomes, strict=True):
                results[number] = _told(outcome)
        return results


class ToQueue:
    """Puts batches into a spool.

    Args:
        times: records what the metrics count.
        path: the spool.
    """

    def __init__(self, times: Times, path: str) -> None:
        self._queue = Queue(path, create=False, shared=False, fs=as_owner(MeteredFileSystem(times), path))

    def store(self, jobs: Sequence[tuple[Pieces, str, list[str]]]) -> list[Told]:
        """Put messages.

        Args:
            jobs: of each message the pieces, the sender and the recipients.

        Returns:
            For each message ``(STORED, item)``, or as `ToMaildirs.store`.
        """
        try:
            outcomes: Sequence[str | BaseException] = self._queue.put_many(jobs)
        except PartialPut as partial:
            outcomes = partial.results
        except Exception as error:  # noqa: BLE001 - a bug of ours: nobody knows how far it came
            outcomes = _lost(error, len(jobs))
        return [(STORED, one) if isinstance(one, str) else _failed(one) for one in outcomes]


def _has_room(maildir: Maildir, size: int) -> bool:
    if size >= 0:
        try:
            maildir.check_quota(size)
        except MaildirSafeError:
            return False
    return True


def _delivered(maildir: Maildir, messages: list[Pieces]) -> Sequence[Receipt | BaseException]:
    try:
        return maildir.deliver_many(messages)
    except PartialDelivery as partial:
        return partial.results
    except Exception as error:  # noqa: BLE001 - a bug of ours: nobody knows how far it came
        return _lost(error, len(messages))


def _lost(error: Exception, count: int) -> list[BaseException]:
    return [UnknownOutcome(f"{type(error).__name__}: {error}")] * count


def _told(outcome: Receipt | BaseException) -> Told:
    if isinstance(outcome, BaseException):
        return _failed(outcome)
    return STORED, outcome.key, outcome.durability, outcome.size, outcome.renames


def _failed(error: BaseException) -> Told:
    return (UNKNOWN, str(error), error.path) if isinstance(error, UnknownOutcome) else (GIVEN_BACK,)


class _Work:
    """The batches from a socket, for a few threads."""

    def __init__(self, target: ToMaildirs | ToQueue, times: Times, sock: socket.socket) -> None:
        self._target: Any = target
        self._times = times
        self._sock = sock
        self._source: BinaryIO = sock.makefile("rb")
        self._reading, self._writing = threading.Lock(), threading.Lock()

    def run(self) -> None:
        """Store batches until the server has gone."""
        try:
            while (batch := self._next()) is not None:
                number, jobs = batch
                answer = packed((number, self._target.store(jobs), self._times.taken()))
                with self._writing:
                    self._sock.sendall(answer)
        except OSError:  # the server has gone
            pass

    def _next(self) -> Any:
        with self._reading:
            head = self._source.read(_LENGTH.size)
            if len(head) < _LENGTH.size:
                return None
            (length,) = _LENGTH.unpack(head)
            data = self._source.read(length)
            return marshal.loads(data) if len(data) == length else None


def main(kind: str, about: str) -> None:
    """Run the process: batches come from standard input, which is a socket.

    Args:
        kind: `MAILDIRS` or `QUEUE`.
        about: what `ToMaildirs` and `ToQueue` are given.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the server ends it, when no message is waiting any more
    sock, times = socket.socket(fileno=0), Times()
    work = _Work(ToQueue(times, about) if kind == QUEUE else ToMaildirs(times, about), times, sock)
    sock.sendall(packed(READY))
    for _ in range(AT_ONCE - 1):
        threading.Thread(target=work.run).start()
    work.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
