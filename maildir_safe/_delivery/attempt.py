"""One attempt to deliver a batch of jobs to one directory: write, sync, publish, sync the directory.

The order of the steps makes the delivery safe (ARCHITECTURE.md, "Durable before acknowledged"):

1. Create, write and close each file in tmp/. Fsync each file, or call syncfs once for all (then each
   step is done for many files before the next step).
2. Rename each file into new/ (`Handoff.publish`).
3. Fsync new/ once, after the last rename.

A job that fails in step 1 or 2 is refused and leaves nothing behind. A failure in step 3 is
`UnknownOutcome`, because the message is visible by then.
"""

from __future__ import annotations

import errno
import os

from maildir_safe._delivery.content import joined
from maildir_safe._delivery.job import CommitRecord
from maildir_safe._fs.quirks import quirks
from maildir_safe._handoff.group_commit import UNSUPPORTED
from maildir_safe._handoff.rename import DONE, NOT_DONE, Handoff, close_quietly, remove_quietly
from maildir_safe._handoff.small_files import write_all
from maildir_safe.errors import TemporaryError, UnknownOutcome, fsync_failed, storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from maildir_safe._delivery.job import DeliveryJob
    from maildir_safe._delivery.target import DeliveryTarget, NameSource
    from maildir_safe._fs import FileSystem
    from maildir_safe._handoff.rename import Outcome

JANITOR_AGE = 36 * 3600.0
"""Seconds after which a file in tmp/ is considered abandoned (maildir(5))."""

_OPEN_AT_ONCE = 32  # open files per batch
_EARLY_WRITEBACK_LIMIT = (
    32  # with more, an early start costs more than it spares (docs/development/measurements.md)
)
_SYNCFS_FROM = 3  # one syncfs is faster than so many fsyncs one after the other
_SYNCFS_KERNEL = [5, 17]
_RELEASE = os.uname().release.replace("-", ".").replace("+", ".").split(".")[:2]
_KERNEL = [int(number) if number.isdecimal() else 0 for number in _RELEASE]
_FULL = {errno.ENOSPC, errno.EDQUOT}
# the name is taken; a directory was replaced; the batch has too many open files;
# a directory must be closed before the client fetches it again (`Quirks.open_directories_stay_stale`)
_CURED_BY_NEW_FILE = {errno.EEXIST, errno.ENOENT, errno.ESTALE, errno.EMFILE, errno.ENFILE}
_CURED_BY_NEW_FILE |= {errno.EIO, errno.ETOOMANYREFS, errno.ELOOP, errno.ENOTDIR}


class Attempt:
    """The state that the jobs of a batch share while they are delivered.

    Args:
        fs: the file system's calls.
        path: the Maildir, for error messages.
        dirs: its open directories.
        subdir: the directory to which the jobs go.
        in_tmp: write them in tmp/; otherwise in their target directory, under a dot name.
        handoff: makes the renames.

    Attributes:
        two_file_systems: whether a job could not be renamed out of tmp/ (EXDEV).
    """

    two_file_systems = False
    _failed = False

    def __init__(
        self, fs: FileSystem, path: str, dirs: DeliveryTarget, subdir: str, in_tmp: bool, handoff: Handoff
    ) -> None:
        self._fs = fs
        self._dirs = dirs
        self._subdir = subdir
        self._path = path
        self._target = dirs.fd(subdir)
        self._in_tmp = in_tmp
        self._staging_fd, self._prefix = (dirs.tmp, "") if in_tmp else (self._target, ".")
        self._handoff = handoff
        self._deadline = fs.boottime() + JANITOR_AGE / 2
        self._marks: list[float] = []

    def run(self, jobs: Sequence[DeliveryJob], names: NameSource, require: str | None) -> int:
        """Deliver the jobs. Each job holds its own outcome afterwards.

        Args:
            names: makes unique names.
            require: refuse a job whose durability would be below this level.

        Returns:
            The number of jobs delivered.

        Raises:
            OSError: a directory cannot be opened.
        """
        # not if the jobs may be written in two directories, which may be two file systems
        self._use_syncfs = (
            self._in_tmp and len(jobs) >= _SYNCFS_FROM and syncfs_reports_errors(self._dirs.fstype)
        )
        self._timed = len(jobs) == 1 and jobs[0].timed
        self._complete = names.complete
        self._start_writeback_early = (
            self._use_syncfs
            and len(jobs) <= _EARLY_WRITEBACK_LIMIT
            and quirks(self._dirs.fstype).early_writeout
        )
        syncfs_fd = -1
        try:
            if self._use_syncfs:
                # our own, opened before the first write: a write error is reported once per descriptor
                syncfs_fd = self._fs.open_dir("tmp", self._dirs.root)
            for job, name in zip(jobs, names.new([one.hashed_id for one in jobs]), strict=True):
                job.unique = name
            jobs = self._write(jobs, require)
            if self._use_syncfs:
                jobs = self._sync_all(syncfs_fd, jobs)
            return self._finish(self._publish(jobs))
        finally:
            if syncfs_fd >= 0:
                close_quietly(self._fs, syncfs_fd)

    def _write(self, jobs: Sequence[DeliveryJob], require: str | None) -> Sequence[DeliveryJob]:
        """Write and close the jobs' files; return the jobs that succeeded."""
        at_once = _OPEN_AT_ONCE if self._use_syncfs else 1
        if len(jobs) <= at_once:
            return self._write_some(jobs, require)
        parts = [jobs[at : at + at_once] for at in range(0, len(jobs), at_once)]
        return [job for part in parts for job in self._write_some(part, require)]

    def _write_some(self, jobs: Sequence[DeliveryJob], require: str | None) -> Sequence[DeliveryJob]:
        """Do each step for all jobs before the next step: this uses caches better than job by job."""
        all_ = jobs
        try:
            for step in (self._create, self._fill, self._sync_files, self._close):
                if self._timed:
                    self._marks.append(self._fs.monotonic())
                step(jobs, require)
                if self._failed:
                    jobs = [job for job in jobs if job.error is None]
            if self._timed:
                self._marks.append(self._fs.monotonic())
            return jobs
        except BaseException:  # interrupted
            for job in all_:
                if job.fd >= 0:
                    self._throw_away(job)
            raise

    def _create(self, jobs: Sequence[DeliveryJob], *_: object) -> None:
        create, staging_fd, prefix = self._fs.create, self._staging_fd, self._prefix
        for job in jobs:
            try:
                job.fd = create(prefix + job.unique, staging_fd)
            except OSError as error:  # one job's error must not affect the others
                self._not_written(job, "create", error)

    def _fill(self, jobs: Sequence[DeliveryJob], *_: object) -> None:
        write = self._fs.write
        for job in jobs:
            size, step = 0, "write"
            try:
                for chunk in joined(job.chunks):
                    done = write(job.fd, chunk)
                    if done < len(chunk):
                        write_all(self._fs, job.fd, chunk, done)
                    size += len(chunk)
                if job.mtime_ns is not None:
                    step = "date"
                    self._fs.utime(self._prefix + job.unique, self._staging_fd, job.mtime_ns)
            except Exception as error:  # noqa: BLE001 - a caller's stream may raise anything
                self._not_written(job, step, error)
            job.size = size

    def _sync_files(self, jobs: Sequence[DeliveryJob], require: str | None) -> None:
        """Fsync each file; or, where one syncfs follows, at most start writeback."""
        if not self._use_syncfs:
            fsync = self._fs.fsync
            for job in jobs:
                try:
                    fsync(job.fd)
                except OSError as error:
                    self._not_synced(job, require, error)
        elif self._start_writeback_early:
            start_writing = self._fs.start_writing
            for job in jobs:
                start_writing(job.fd)

    def _close(self, jobs: Sequence[DeliveryJob], *_: object) -> None:
        close, complete = self._fs.close, self._complete
        for job in jobs:
            fd, job.fd = job.fd, -1
            try:
                close(fd)
            except OSError as error:
                self._not_written(job, "close", error)
            job.name = job.final or complete(job.unique, job.size) + job.info

    def _not_written(self, job: DeliveryJob, step: str, error: Exception) -> None:
        self._failed = True
        self._throw_away(job)
        job.error = error
        if isinstance(error, OSError):
            job.retriable = _worth_a_new_file(step, error)
            place = "tmp" if self._in_tmp else job.subdir
            path = f"{self._path}/{place}/{self._prefix}{job.unique}"
            job.error = storage_error(f"{step} {path}", error)
            job.error.__cause__ = error

    def _throw_away(self, job: DeliveryJob) -> None:
        """Close a file that is not to be published, if it is open, and remove it."""
        fd, job.fd = job.fd, -1
        if fd >= 0:
            close_quietly(self._fs, fd)
        remove_quietly(self._fs, self._staging_fd, self._prefix + job.unique)

    def _not_synced(self, job: DeliveryJob, require: str | None, error: OSError) -> None:
        """Refuse a job whose fsync failed. Where the mount has no fsync, it counts as not synced."""
        job.synced = False
        if error.errno not in UNSUPPORTED:
            self._not_written(job, "fsync", error)
        elif require not in (None, "none"):
            needed = f"{self._path}: the mount cannot fsync, and {require!r} is required"
            self._not_written(job, "fsync", TemporaryError(needed))

    def _sync_all(self, syncfs_fd: int, jobs: Sequence[DeliveryJob]) -> Sequence[DeliveryJob]:
        """Call syncfs once for the batch. If it fails, any job's pages may be lost: all are retried."""
        try:
            self._fs.syncfs(syncfs_fd)
        except OSError as error:
            for job in jobs:
                remove_quietly(self._fs, self._staging_fd, self._prefix + job.unique)
                job.retriable = True
                job.error = storage_error(f"syncfs {self._path}", error)
            return []
        return jobs

    def _publish(self, jobs: Sequence[DeliveryJob]) -> Sequence[DeliveryJob]:
        """Rename the files into view; return the jobs that were published."""
        if not jobs:
            return []
        drafts = [self._prefix + job.unique for job in jobs]
        finals = [job.name for job in jobs]
        ambiguous = self._handoff.publish(
            self._staging_fd,
            drafts,
            self._target,
            finals,
            self._deadline,
            jobs[0].replaces,
            lambda at: jobs[at].size,
            self._dirs.moved_on,
        )
        if self._marks:
            self._marks.append(self._fs.monotonic())
        if not ambiguous:
            return jobs
        for job, draft in zip(jobs, drafts, strict=True):
            outcome = ambiguous.get(draft)
            if outcome is not None:
                job.renames = outcome.renames
                job.error = None if outcome.kind == DONE else self._refused(job, outcome)
        return [job for job in jobs if job.error is None]

    def _refused(self, job: DeliveryJob, outcome: Outcome) -> TemporaryError:
        """Return the error for a handoff that did not happen or has an unknown outcome."""
        error = outcome.error or OSError(errno.EIO, "no error was given")
        path = f"{self._path}/{self._subdir}/{job.name}"
        failure = storage_error(f"rename into {path}", error)
        if outcome.kind != NOT_DONE:
            return UnknownOutcome(f"{failure}; it may be there, keep the message", path)
        if error.errno == errno.EXDEV and self._in_tmp:
            self.two_file_systems = job.retriable = True
        too_old = self._fs.boottime() > self._deadline
        # a retry reopens a directory that was replaced, or a queue's bucket that was removed
        job.retriable |= too_old or error.errno in (errno.ENOENT, errno.ESTALE)
        return failure

    def _finish(self, jobs: Sequence[DeliveryJob]) -> int:
        """Fsync the target directory once, which completes the deliveries; return their number."""
        if not jobs:
            return 0
        level = self._dirs.durability
        try:
            if not self._dirs.sync[self._subdir].sync() and level == "full":
                level = "file"
        except OSError as error:
            place = f"{self._path}/{self._subdir}"
            for job in jobs:
                job.error = fsync_failed(place, f"{place}/{job.name}", error)
            return 0
        if self._marks:
            self._marks.append(self._fs.monotonic())
        commit_record = CommitRecord(f"{self._path}/{self._subdir}", level, self._marks)
        for job in jobs:
            job.commit_record = commit_record
            job.chunks = ()
        return len(jobs)


def _worth_a_new_file(step: str, error: OSError) -> bool:
    """Report whether an attempt with a new file, alone, may succeed. That includes a failed fsync."""
    if step == "fsync":
        return error.errno not in _FULL
    return step == "create" and error.errno in _CURED_BY_NEW_FILE


def syncfs_reports_errors(fstype: str) -> bool:
    """Report whether one syncfs makes all files of a batch durable and reports failed writes.

    Args:
        fstype: the file system's type, as /proc/self/mountinfo names it.
    """
    return quirks(fstype).syncfs and _KERNEL >= _SYNCFS_KERNEL
