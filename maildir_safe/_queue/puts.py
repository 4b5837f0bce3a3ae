"""The half of a queue that puts messages into it, which is all that `sendmail` loads."""

from __future__ import annotations

import os
from _thread import allocate_lock as Lock

from maildir_safe._handoff.rename import RESOLVE_TIMEOUT
from maildir_safe._queue.open_spool import OpenSpool, owners_calls
from maildir_safe._queue.store.bucket import NOW, period
from maildir_safe._queue.store.mount_rules import MountRules, hold_no_directories
from maildir_safe._queue.store.writer import put_job
from maildir_safe.errors import TemporaryError, UnknownOutcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from maildir_safe._delivery.content import Content
    from maildir_safe._delivery.dsn import Dsn
    from maildir_safe._fs import FileSystem
    from maildir_safe._queue.store.writer import PutJob, SpoolWriter

_CHECKED_EVERY = 3.0  # seconds between two checks of where the path leads


class QueuePuts:
    """What `maildir_safe._queue.queue.Queue`, which has the same arguments, can do about puts. Thread-safe.

    Attributes:
        path: the spool's absolute path.
        fs: the file system's calls.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        create: bool = True,
        *,
        lease: int | None = None,
        shared: bool = True,
        require: str | None = None,
        resolve_timeout: float = RESOLVE_TIMEOUT,
        fs: FileSystem | None = None,
    ) -> None:
        self.path = os.path.abspath(path)  # it is opened again later, perhaps after a chdir
        self._given_fs = self.fs = fs or owners_calls(self.path)
        self._resolve_timeout = resolve_timeout
        self._require, self._shared, self._lease_asked_for = require, shared, lease
        self._opening = Lock()
        self._check_at = 0.0
        self._open(create)

    def put(
        self,
        message: Content,
        sender: str,
        recipients: Sequence[str],
        *,
        not_before: float | None = None,
        dsn: Dsn | None = None,
    ) -> str:
        """Put a message into the queue; see `maildir_safe._queue.queue.Queue.put`."""
        return self._put(put_job(message, sender, recipients, not_before, dsn), not_before)

    def _put(self, job: PutJob, not_before: float | None) -> str:
        if self.fs.monotonic() >= self._check_at:
            self._reopen_if_remounted()
        writer = self._opened.writer
        try:
            writer.put(job, NOW if not_before is None else self._period(not_before))
        except TemporaryError:
            self._check_at = 0.0  # check the path at the next call: it may lead elsewhere now
            raise
        if self._opened.writer is not writer or self.fs.monotonic() >= self._check_at:
            self._acknowledge(writer, [job])
        if job.commit_record is None:
            raise job.failure()
        return job.unique

    def put_many(
        self,
        messages: Iterable[tuple[Content, str, Sequence[str]]],
        *,
        not_before: float | None = None,
        dsn: Dsn | None = None,
    ) -> list[str]:
        """Put messages into the queue; see `maildir_safe._queue.queue.Queue.put_many`."""
        jobs = [
            put_job(message, sender, recipients, not_before, dsn) for message, sender, recipients in messages
        ]
        if not self._put_jobs(jobs, NOW if not_before is None else self._period(not_before)):
            from maildir_safe._delivery.partial import PartialPut

            raise PartialPut([one.unique if one.commit_record else one.failure() for one in jobs])
        return [job.unique for job in jobs]

    def _check_mount(self) -> None:
        MountRules.for_new(self.fs, self.path).shared_lease(self._lease_asked_for)

    def _open(self, create: bool) -> None:
        fs = self.fs = hold_no_directories(self._given_fs, self.path)
        if create and self._shared:
            self._check_mount()  # a refused queue leaves no directory behind
        self._opened = OpenSpool(
            fs,
            self.path,
            create,
            lease=self._lease_asked_for,
            shared=self._shared,
            require=self._require,
            resolve_timeout=self._resolve_timeout,
            before_registering=self._start_heartbeat,
        )
        self._check_at = fs.monotonic() + _CHECKED_EVERY

    def _reopen_if_remounted(self) -> None:
        """Reopen the spool if its path leads elsewhere; else mail would go into a detached directory.

        Raises:
            TemporaryError: the path leads nowhere now, or it cannot be checked.
        """
        if self.fs.monotonic() < self._check_at:
            return
        with self._opening:
            if self.fs.monotonic() < self._check_at:
                return
            if self._opened.layout.is_detached():
                from maildir_safe._queue.consumer import log  # `logging` takes 5 ms to import

                log.warning("%s was remounted or replaced: reopening it", self.path)
                self._opened.abandon()
                self._open(create=False)
            self._check_at = self.fs.monotonic() + _CHECKED_EVERY

    def _writer_now(self) -> SpoolWriter:
        if self.fs.monotonic() >= self._check_at:  # the same question as there, without a call for each put
            self._reopen_if_remounted()
        return self._opened.writer

    def _put_jobs(self, jobs: Sequence[PutJob], period: str = NOW) -> bool:
        """Put jobs, check that the path still leads to them, and return whether all are in the queue."""
        try:
            writer = self._writer_now()
        except TemporaryError as error:
            for job in jobs:
                job.error = error
            return False
        good = writer.put_many([*jobs], period)
        if not good:
            self._check_at = 0.0
        return self._acknowledge(writer, jobs) and good

    def _acknowledge(self, writer: SpoolWriter, jobs: Sequence[PutJob]) -> bool:
        """Whether the path still leads to the spool just written; checked again if the last check is old."""
        try:
            if self._writer_now() is writer:
                return True
            error = UnknownOutcome(f"{self.path} was remounted or replaced while this was put into it")
        except TemporaryError as failure:
            error = UnknownOutcome(f"{failure}; it was put there, but perhaps into a detached directory")
        for job in jobs:
            if job.commit_record is not None:
                job.commit_record, job.error = None, error
        return False

    def _start_heartbeat(self) -> None:
        """Called before a lease is registered; who only puts has none."""

    def _period(self, not_before: float) -> str:
        return period(int(not_before), self.fs.time_ns() / 1e9)
