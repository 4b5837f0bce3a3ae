"""The delivery pipeline: groups jobs into batches, attempts each batch and retries single jobs.

Most batches hold one job. `maildir_safe._delivery.attempt` makes one attempt. A job whose failure a
new file may cure is retried alone: after a failed fsync its file is rewritten, since the kernel may
have dropped its pages.
"""

from __future__ import annotations

from maildir_safe._delivery.attempt import Attempt, syncfs_reports_errors
from maildir_safe._delivery.job import ATTEMPTS
from maildir_safe._handoff.group_commit import Combiner
from maildir_safe._handoff.rename import Handoff
from maildir_safe.errors import TemporaryError, storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maildir_safe._delivery.job import DeliveryJob
    from maildir_safe._delivery.target import DeliveryTarget, NameSource
    from maildir_safe._fs import FileSystem

# callers; fewer parallel fsyncs are faster than one syncfs (docs/development/measurements.md)
_CROWD = 8
_BATCH = 256


class DeliveryPipeline:
    """Delivers jobs into one Maildir or bucket. Thread-safe.

    Args:
        fs: the file system's calls.
        path: the Maildir, for receipts and error messages.
        directories: returns the open directories; called with True, it reopens them first.
        names: makes unique names.
        staging: ``"tmp"``, or ``"new"`` to write in the target directory, under a dot name.
        require: refuse a job whose durability would be below this level.
        resolve_timeout: seconds to wait for caches and servers before an outcome is reported unknown.
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
        self._outstanding: list[DeliveryJob] = []

    def deliver(self, job: DeliveryJob) -> DeliveryJob:
        """Deliver one job and return it. Concurrent callers share fsyncs.

        Raises:
            TemporaryError: not delivered; nothing of it is left behind.
            UnknownOutcome: delivered or not; the caller must keep the message.
        """
        outstanding = self._outstanding
        outstanding.append(job)  # only their number counts: `append` and `pop` need no lock
        try:
            if len(outstanding) >= _CROWD and syncfs_reports_errors(self._directories(False).fstype):
                self._combiner.run(job, self.commit)
            elif not self._attempt([job]):
                self._retry([job])
        finally:
            outstanding.pop()
        if job.commit_record is None:
            raise job.failure()
        return job

    def commit(self, jobs: Sequence[DeliveryJob]) -> bool:
        """Deliver any number of jobs in batches. Each job holds its outcome.

        Returns:
            Whether all jobs were delivered.
        """
        kinds = {(job.subdir, job.replaces) for job in jobs}
        good = True
        for kind in kinds:
            good &= self.commit_alike([one for one in jobs if (one.subdir, one.replaces) == kind])
        return good

    def commit_alike(self, jobs: Sequence[DeliveryJob]) -> bool:
        """`commit` for jobs that have the same `subdir` and the same `replaces`."""
        good = True
        for start in range(0, len(jobs), _BATCH):
            batch = jobs[start : start + _BATCH]
            if self._attempt(batch) < len(batch):
                good &= self._retry(batch)
        return good

    def _retry(self, batch: Sequence[DeliveryJob]) -> bool:
        """Retry the jobs of a batch that are retriable; return whether all are delivered now."""
        for job in batch:
            if job.can_retry and not job.keeps_name:
                job.reset()
                self.commit_alike([job])  # alone, so that only the faulty job is refused
        return all(job.commit_record for job in batch)

    def _attempt(self, batch: Sequence[DeliveryJob]) -> int:
        first = batch[0]
        try:
            dirs = self._directories(first.attempts_left < ATTEMPTS)
            attempt = Attempt(self._fs, self._path, dirs, first.subdir, self._in_tmp, self._handoff)
            done = attempt.run(batch, self._names, self._require)
        except (OSError, TemporaryError) as error:  # the directories cannot be opened
            for job in batch:
                job.error = error if isinstance(error, TemporaryError) else storage_error(self._path, error)
            return 0
        if attempt.two_file_systems:
            self._in_tmp = False  # from now on write where the message goes
        return done
