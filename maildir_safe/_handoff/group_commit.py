"""Group commit: many handoffs, few fsyncs.

* `DirectorySync`: all callers that renamed into a directory before an fsync of it started share that
  fsync. Later callers share the next one. An error fails every caller that shared it.
* `Combiner`: concurrent callers form one batch, which one of them processes.

Neither starts a thread. The callers do the work, so nothing keeps running in a process that forks
or ends.
"""

from __future__ import annotations

import errno
import time
from _thread import allocate_lock as Lock  # `threading` costs a mail delivery agent a millisecond

from maildir_safe._fs.quirks import quirks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from maildir_safe._fs import FileSystem

UNSUPPORTED = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.ENOTTY, errno.EISDIR}
"""Errors of fsync where a mount does not support it (kAFS, for a directory: EINVAL); others are failures."""


class _Round:
    """One fsync and the state that its waiters share."""

    __slots__ = ("error", "gate", "supported")

    def __init__(self) -> None:
        self.gate = Lock()
        self.gate.acquire()
        self.supported = True
        # a failure until it has succeeded, in case the thread that runs it dies
        self.error: int = errno.EINTR


class DirectorySync:
    """The fsync of one directory, shared by concurrent callers.

    Args:
        fs: the file system's calls.
        dir_fd: the directory. The caller still owns it and keeps it open as long as this object is used.
        fstype: the file system's type. If old names can return on it (`Quirks.old_names_return`), the
            whole file system is synced. Not needed if the old name was in tmp/.
    """

    def __init__(self, fs: FileSystem, dir_fd: int, fstype: str = "") -> None:
        self._fs = fs
        self._dir_fd = dir_fd
        self._sync = fs.syncfs if quirks(fstype).old_names_return else fs.fsync
        self._state = Lock()
        self._running = Lock()
        self._next: _Round | None = None

    def sync(self) -> bool:
        """Wait for an fsync that starts after this call.

        Returns:
            False if the mount cannot fsync a directory.

        Raises:
            OSError: the fsync failed. Whether the entries are durable is unknown, and a second call
                would prove nothing: the kernel may have dropped what it could not write.
        """
        if self._next is not None or self._running.locked():
            return self._shared()
        with self._running:  # concurrent callers wait for this lock and sync after us
            try:
                self._sync(self._dir_fd)
            except OSError as error:
                if error.errno in UNSUPPORTED:
                    return False
                raise
        return True

    def _shared(self) -> bool:
        with self._state:
            mine = self._next
            leading = mine is None
            if mine is None:
                mine = self._next = _Round()
        if leading:
            self._lead(mine)
        else:
            mine.gate.acquire()
            mine.gate.release()
        if mine.error:
            raise OSError(mine.error, "fsync of the directory")
        return mine.supported

    def _lead(self, mine: _Round) -> None:
        try:
            with self._running:  # a running fsync started before our rename
                with self._state:
                    self._next = None  # later callers join the next round
                self._sync(self._dir_fd)
                mine.error = 0
        except OSError as error:
            mine.supported = error.errno not in UNSUPPORTED
            mine.error = (error.errno or errno.EIO) if mine.supported else 0
        finally:
            if self._next is mine:  # interrupted before it began: nobody may join it any more
                self._next = None
            mine.gate.release()


class _Waiter:
    __slots__ = ("gate", "job", "leads")

    def __init__(self, job: Any) -> None:
        self.job = job
        self.leads = False
        self.gate = Lock()
        self.gate.acquire()


class Combiner:
    """Combines concurrent jobs into batches: one caller works for all that wait.

    Args:
        limit: the most jobs in a batch.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._state = Lock()
        self._waiting: list[_Waiter] = []
        self._busy = False

    def run(self, job: Any, work: Callable[[list[Any]], object]) -> None:
        """Process `job` with `work`, in this thread or in another caller's; return when it is done.

        Args:
            job: the job.
            work: processes a batch; it is the same for all callers. It leaves each job's result in the
                job and raises nothing. A job that it did not reach must itself report a failure.
        """
        mine = _Waiter(job)
        try:
            with self._state:
                self._waiting.append(mine)
                mine.leads = not self._busy
                self._busy = True
            if not mine.leads:
                mine.gate.acquire()  # until the job is done, or it is this thread's turn to lead
            if mine.leads:
                self._lead(work)
        except BaseException:  # Ctrl-C, perhaps while it waited: it must not be chosen as the next leader
            with self._state:
                if mine in self._waiting:
                    self._waiting.remove(mine)
            raise
        finally:
            if mine.leads:
                self._pass_on()

    def _lead(self, work: Callable[[list[Any]], object]) -> None:
        self._gather()
        with self._state:  # the leader itself is the first in the list
            batch = self._waiting[: self._limit]
            del self._waiting[: self._limit]
        try:
            work([waiter.job for waiter in batch])
        finally:
            for waiter in batch[1:]:  # before the next leader starts, which may then batch their next jobs
                waiter.gate.release()

    def _pass_on(self) -> None:
        with self._state:
            leader = self._waiting[0] if self._waiting else None
            self._busy = leader is not None
            if leader is not None:
                leader.leads = True
                leader.gate.release()

    def _gather(self) -> None:
        """Let other threads run while that adds jobs: two half batches would cost two commits."""
        seen = 0
        while seen < len(self._waiting) < self._limit:
            seen = len(self._waiting)
            time.sleep(0)
