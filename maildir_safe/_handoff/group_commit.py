"""Group commit: many handovers, few fsyncs.

* `DirectorySync`: all who renamed into a directory before its fsync started share that fsync;
  latecomers take the next one; an error fails every sharer.
* `Combiner`: callers that come at the same time are taken together, as one batch, by one of them.

Neither starts a thread: the work is done by the callers, so that nothing is left running in a
process that forks or ends.
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
"""What fsync answers where a mount has none (kAFS, for a directory: EINVAL); all else is a failure."""


class _Round:
    """One fsync, and those who wait for it."""

    __slots__ = ("error", "gate", "supported")

    def __init__(self) -> None:
        self.gate = Lock()
        self.gate.acquire()
        self.supported = True
        # until it has succeeded it has failed, whatever becomes of the thread that runs it
        self.error: int = errno.EINTR


class DirectorySync:
    """The fsync of one directory, shared by concurrent callers.

    Args:
        fs: the file system's calls.
        dir_fd: the directory; it stays the caller's, and open as long as this object is used.
        fstype: where old names return (`Quirks.old_names_return`) the whole file system is synced.
            Not needed where that name was in tmp/.
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
            False where the mount cannot fsync a directory.

        Raises:
            OSError: the fsync failed. Whether the entries are durable is unknown, and repeating
                the call would not tell: the kernel may have dropped what it could not write.
        """
        if self._next is None and not self._running.locked():
            return self._alone()
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

    def _alone(self) -> bool:
        with self._running:  # who comes meanwhile waits for it, and syncs after us
            try:
                self._sync(self._dir_fd)
            except OSError as error:
                if error.errno in UNSUPPORTED:
                    return False
                raise
        return True

    def _lead(self, mine: _Round) -> None:
        try:
            with self._running:  # a running one started before our rename
                with self._state:
                    self._next = None  # who comes from here on takes the next round
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
    """Takes jobs that come at the same time together: one caller works for all who wait.

    Args:
        limit: most jobs in a batch.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._state = Lock()
        self._waiting: list[_Waiter] = []
        self._busy = False

    def run(self, job: Any, work: Callable[[list[Any]], object]) -> None:
        """Return when `job` has been through `work`, in this thread or in another's.

        Args:
            job: what is to be done.
            work: does a batch, the same for all callers. It leaves each job's result in the job
                and raises nothing; a job that it did not reach must say of itself that it failed.
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
        except BaseException:  # Ctrl-C, perhaps while it waited: nobody must take it for one who will lead
            with self._state:
                if mine in self._waiting:
                    self._waiting.remove(mine)
            raise
        finally:
            if mine.leads:
                self._pass_on()

    def _lead(self, work: Callable[[list[Any]], object]) -> None:
        self._gather()
        with self._state:  # the leader itself is the first of those who wait
            batch = self._waiting[: self._limit]
            del self._waiting[: self._limit]
        try:
            work([waiter.job for waiter in batch])
        finally:
            for waiter in batch[1:]:  # before the heir, who takes along whoever of them comes back
                waiter.gate.release()

    def _pass_on(self) -> None:
        with self._state:
            heir = self._waiting[0] if self._waiting else None
            self._busy = heir is not None
            if heir is not None:
                heir.leads = True
                heir.gate.release()

    def _gather(self) -> None:
        """Let other threads run for as long as that brings more jobs: two half batches cost two commits."""
        seen = 0
        while seen < len(self._waiting) < self._limit:
            seen = len(self._waiting)
            time.sleep(0)
