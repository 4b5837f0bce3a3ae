"""The server's end of the committer process: batches go out, and each message waits for its own answer.

A mount, or a spool, gets a committer when many clients send at once, and if one syncfs makes all files of a
batch durable there. Until it is ready, for large messages, and for those with a delivery id, threads store,
as they do without a committer. So nothing depends on the process: if it cannot be started, or dies, mail is
stored more slowly. What was with it when it died has an unknown outcome, and is answered 451.

A batch forms while others are on disk, and holds what has come by then.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, cast

from maildir_safe._child import DIRECTORY, command
from maildir_safe._delivery.attempt import syncfs_reports_errors
from maildir_safe._fs.owner import as_owner
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._smtp.backends.committer_process import (
    AT_ONCE,
    MAILDIRS,
    QUEUE,
    READY,
    STORED,
    UNKNOWN,
    packed,
    unpacked,
)
from maildir_safe._smtp.server.operator import tell
from maildir_safe.errors import MaildirSafeError, UnknownOutcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from maildir_safe._smtp.backends.lanes import Lane
    from maildir_safe._smtp.server.counters import Counters

    _Started = tuple[subprocess.Popen[bytes], socket.socket] | None

LARGEST = 1 << 18
"""The most bytes of a message that is passed to a committer: it is copied on the way."""

CROWD = 8
"""Messages at a time that start a committer. With fewer, threads hardly wait for the event loop."""

IDLE = 60.0
"""Seconds without a message after which a committer ends."""

_AGAIN = 30.0  # seconds until a committer that could not be started, or died, is started again
_START = 20.0  # seconds within which it must be ready
_BATCH = 256  # messages
_BATCH_BYTES = 4 << 20


class Committer(asyncio.Protocol):
    """A committer process that is ready. Used in one event loop.

    Args:
        process: the process.
        counters: counts its fsyncs.
        ended: called once, when it takes no more messages.

    Attributes:
        idle: whether no message was passed to it since this was last set.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], counters: Counters, ended: Callable[[Committer], None]
    ) -> None:
        self._process = process
        self._counters = counters
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiting: list[tuple[tuple[Any, ...], int, asyncio.Future[tuple[Any, ...]]]] = []
        self._batches: dict[int, list[asyncio.Future[tuple[Any, ...]]]] = {}
        self._number = 0
        self._scheduled = False
        self._received = bytearray()
        self.idle = False

    async def store(self, size: int, *job: Any) -> tuple[Any, ...] | None:
        """Return when a message is durable.

        Args:
            size: bytes of the message.
            job: what `ToMaildirs.store` or `ToQueue.store` takes of each message.

        Returns:
            What the process tells about the stored message; None if it was not stored: the caller stores it
            otherwise.

        Raises:
            UnknownOutcome: the process died, or could not find out.
        """
        self.idle = False
        if self._transport is None or size > LARGEST:
            return None
        answer: asyncio.Future[tuple[Any, ...]] = self._loop.create_future()
        self._waiting.append((job, size, answer))
        if not self._scheduled and len(self._batches) < AT_ONCE:
            self._scheduled = True
            self._loop.call_soon(self._send)  # after the other connections that are readable now
        kind, *facts = await answer
        if kind == UNKNOWN:
            raise UnknownOutcome(*facts)
        return tuple(facts) if kind == STORED else None

    def _send(self) -> None:
        """Send what waits as one batch, if the process has time for it."""
        self._scheduled = False
        if self._transport is None or not self._waiting or len(self._batches) >= AT_ONCE:
            return
        count = total = 0
        for _, size, _ in self._waiting[:_BATCH]:
            total += size
            if count and total > _BATCH_BYTES:
                break
            count += 1
        batch = self._waiting[:count]
        del self._waiting[:count]
        self._number += 1
        self._batches[self._number] = [answer for _, _, answer in batch]
        self._transport.write(packed((self._number, [job for job, _, _ in batch])))

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ours."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """A part of an answer, or several, have arrived."""
        self._received += data
        for number, results, (fsyncs, renames) in unpacked(self._received):
            for seconds in fsyncs:
                self._counters.fsync(seconds)
            for _ in range(renames):
                self._counters.ambiguous_rename()
            _answer(self._batches.pop(number), results)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._send)  # after the clients that were just answered

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """The process has ended."""
        self._transport = None
        self._ended(self)
        lost = (UNKNOWN, "the committer process has died; the message may be there, keep it", None)
        for answers in self._batches.values():
            _answer(answers, [lost] * len(answers))
        self._batches.clear()
        _answer([answer for _, _, answer in self._waiting], [("",)] * len(self._waiting))
        self._waiting.clear()
        threading.Thread(target=self._process.wait, daemon=True).start()  # it may still have a batch

    def close(self) -> None:
        """Let the process finish what it has, and end. Returns at once."""
        if self._transport is not None and not self._batches and not self._waiting:
            self._transport.close()


def _answer(answers: list[asyncio.Future[tuple[Any, ...]]], results: list[tuple[Any, ...]]) -> None:
    for answer, result in zip(answers, results, strict=True):
        if not answer.done():  # its caller was cancelled
            answer.set_result(result)


class Committers:
    """The committers of a server process, one for each mount or spool that needs one.

    Args:
        counters: counts their fsyncs.
        staging: where messages are written first in Maildirs, as for `Maildir`.
    """

    def __init__(self, counters: Counters, staging: str | None = None) -> None:
        self._counters = counters
        self._staging = staging
        self._ready: dict[str, Committer] = {}
        self._not_before: dict[str, float] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}

    def of_lane(self, lane: Lane, path: str, under_way: int) -> Committer | None:
        """The committer of a lane, for one of its Maildirs; None if threads are better, or it is not ready.

        A committer makes a batch durable Maildir by Maildir. Where clients send to many Maildirs, threads
        wait for several of them at a time.

        Args:
            lane: the lane.
            path: the Maildir.
            under_way: number of the lane's deliveries that are for this Maildir.
        """
        if 2 * under_way < lane.under_way:
            return None
        found = self._ready.get(lane.name)
        if found is None and under_way >= CROWD:
            self._begin(lane.name, lane.run, path, MAILDIRS, self._staging or "")
        return found

    def of_queue(self, path: str, under_way: int) -> Committer | None:
        """The committer of a spool; None if it has none, perhaps not yet.

        Args:
            path: the spool.
            under_way: number of messages that are being put into it.
        """
        found = self._ready.get(path)
        if found is None and under_way >= CROWD:
            self._begin(path, asyncio.to_thread, path, QUEUE, path)
        return found

    def _begin(self, name: str, run: Callable[..., Awaitable[_Started]], path: str, *words: str) -> None:
        now = time.monotonic()
        if name not in self._starting and now >= self._not_before.get(name, 0.0):
            self._not_before[name] = now + _AGAIN
            starting = self._start(name, run, path, words)
            self._starting[name] = asyncio.get_running_loop().create_task(starting)

    async def _start(
        self, name: str, run: Callable[..., Awaitable[_Started]], path: str, words: tuple[str, ...]
    ) -> None:
        try:
            started = await run(_started, path, words)
            if started is not None:
                await self._meet(name, *started)
        except Exception as error:  # noqa: BLE001 - whatever it is: the threads go on storing
            tell(f"{name}: stored without a committer process, more slowly: {error}")
        finally:
            del self._starting[name]

    async def _meet(self, name: str, process: subprocess.Popen[bytes], ours: socket.socket) -> None:
        loop = asyncio.get_running_loop()

        def ended(committer: Committer) -> None:
            if self._ready.get(name) is committer:
                del self._ready[name]

        _, committer = await loop.create_unix_connection(
            lambda: Committer(process, self._counters, ended), sock=ours
        )
        self._ready[name] = committer
        self._watch(committer)

    def _watch(self, committer: Committer) -> None:
        """End a committer that has had no message for a while."""
        if committer not in self._ready.values():
            return
        if committer.idle:
            committer.close()
        committer.idle = True
        asyncio.get_running_loop().call_later(IDLE, self._watch, committer)

    def close(self) -> None:
        """End all of them, when nothing is stored any more."""
        for starting in list(self._starting.values()):
            starting.cancel()
        for committer in list(self._ready.values()):
            committer.close()


def _started(path: str, words: tuple[str, ...]) -> _Started:
    """Start a committer and wait until it is ready; None where batches have no common sync.

    Raises:
        OSError, MaildirSafeError: it cannot be started.
    """
    if not _has_common_sync(path):
        return None
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = subprocess.Popen(
                command("maildir_safe._smtp.backends.committer_process", *words),
                stdin=theirs.fileno(), stdout=subprocess.DEVNULL, cwd=DIRECTORY, start_new_session=True,
            )  # fmt: skip
        except BaseException:
            ours.close()
            raise
    try:
        ours.settimeout(_START)
        expected = packed(READY)
        if ours.recv(len(expected), socket.MSG_WAITALL) != expected:
            raise MaildirSafeError("it did not start")
    except BaseException:
        ours.close()
        process.wait()
        raise
    ours.setblocking(False)
    return process, ours


def _has_common_sync(path: str) -> bool:
    fs = as_owner(OsFileSystem(), path)
    fd = fs.open_dir(path)
    try:
        return syncfs_reports_errors(fs.mount(fd).fstype)
    finally:
        fs.close(fd)
