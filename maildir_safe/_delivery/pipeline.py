"""Delivery: jobs are taken in batches, most of them of one, and each batch is attempted.

What an attempt does is in `maildir_safe._delivery.attempt`. What it refuses for a reason that a new
file may mend is tried again, alone: a file whose fsync failed is written anew, since the kernel may
have dropped its pages.
"""

from __future__ import annotations

from _thread import allocate_lock as Lock

from maildir_safe._delivery.attempt import Attempt, has_syncfs
from maildir_safe._delivery.job import TRIES
from maildir_safe._handoff.group_commit import Combiner
from maildir_safe._handoff.rename import Handoff
from maildir_safe.errors import TemporaryError, storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maildir_safe._delivery.job import DeliveryJob
    from maildir_safe._delivery.target import DeliveryTarget, NameSource
    from maildir_safe._fs import FileSystem

_CROWD = 8  # fewer fsyncs in parallel are faster than one syncfs (docs/development/measurements.md)
_BATCH = 256


class DeliveryPipeline:
    """Puts jobs into one Maildir. Thread-safe.

    Args:
        fs: the file system's calls.
        path: the Maildir, for receipts and messages.
        directories: gives the open directories; called with True, opens them anew.
        names: makes unique names.
        staging: ``"tmp"``, or ``"new"`` to write where the message goes, under a dot name.
        require: refuse a job whose durability would be less than this level.
        resolve_timeout: see `Handoff`.
    """

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        directories: Callable[[bool], DeliveryTarget],
        names: NameSource,
        staging: str,
        require: str | None,
        resolve_timeout: float,
    ) -> None:
        self._fs = fs
        self._path = path
        self._directories = directories
        self._names = names
        self._in_tmp = staging == "tmp"
        self._require = require
        self._handoff = Handoff(fs, resolve_timeout)
        self._combiner = Combiner(_BATCH)
        self._lock = Lock()
        self._outstanding = 0

    def deliver(self, job: DeliveryJob) -> DeliveryJob:
        """Deliver one job, and give it back; concurrent callers share fsyncs.

        Raises:
            TemporaryError: not delivered, and nothing is left of it.
            UnknownOutcome: delivered or not; the caller keeps the message.
        """
        with self._lock:
            self._outstanding += 1
            crowded = self._outstanding >= _CROWD
        try:
            if crowded and has_syncfs(self._directories(False)):
                self._combiner.run(job, self.commit)
            elif not self._attempt([job]):
                self._again([job])
        finally:
            with self._lock:
                self._outstanding -= 1
        if job.commit_record is None:
            raise job.failure()
        return job

    def commit(self, jobs: Sequence[DeliveryJob]) -> bool:
        """Deliver any number of jobs in batches; whether all are. What became of each is in the job."""
        kinds = {(job.subdir, job.replaces) for job in jobs}
        good = True
        for kind in kinds:
            good &= self.commit_alike([one for one in jobs if (one.subdir, one.replaces) == kind])
        return good

    def commit_alike(self, jobs: Sequence[DeliveryJob]) -> bool:
        """`commit` for jobs that go to one directory, and replace a message all or none."""
        good = True
        for start in range(0, len(jobs), _BATCH):
            batch = jobs[start : start + _BATCH]
            if self._attempt(batch) < len(batch):
                good &= self._again(batch)
        return good

    def _again(self, batch: Sequence[DeliveryJob]) -> bool:
        """Try once more what may succeed then; whether all jobs of a batch are delivered now."""
        for job in batch:
            if job.again and job.tries > 1 and isinstance(job.chunks, tuple):
                job.tries -= 1
                job.reset()
                self.commit_alike([job])  # alone, so that only what is at fault is refused
        return all(job.commit_record for job in batch)

    def _attempt(self, batch: Sequence[DeliveryJob]) -> int:
        first = batch[0]
        try:
            dirs = self._directories(first.tries < TRIES)
            attempt = Attempt(self._fs, self._path, dirs, first.subdir, self._in_tmp, self._handoff)
            done = attempt.run(batch, self._names, self._require)
        except (OSError, TemporaryError) as error:  # the directories cannot be opened
            for job in batch:
                job.error = error if isinstance(error, TemporaryError) else storage_error(self._path, error)
            return 0
        if attempt.two_file_systems:
            self._in_tmp = False  # from now on write where the message goes
        return done
