"""One attempt at a batch of jobs for one directory: write, make durable, publish, make that durable.

The order of the steps is what makes it safe (ARCHITECTURE.md, "Durable before acknowledged"):

1. create, write and close each file in tmp/, with an fsync each, or with one syncfs for all (then each
   of the steps is done for many files before the next);
2. rename each into new/ (`Handoff.publish`);
3. one fsync of new/, started after the last rename.

What fails in step 1 or 2 is refused and leaves nothing behind; a failure in step 3 is
`UnknownOutcome`, because the message is visible by then.
"""

from __future__ import annotations

import errno
import os

from maildir_safe._delivery.content import joined
from maildir_safe._delivery.job import CommitRecord
from maildir_safe._fs.quirks import quirks
from maildir_safe._handoff.rename import DONE, NOT_DONE, Handoff, close_quietly, remove_quietly
from maildir_safe._handoff.small_files import fsync_if_supported, write_all
from maildir_safe._names import with_size
from maildir_safe.errors import TemporaryError, UnknownOutcome, fsync_failed, storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from maildir_safe._delivery.job import DeliveryJob
    from maildir_safe._delivery.target import DeliveryTarget, NameSource
    from maildir_safe._fs import FileSystem
    from maildir_safe._handoff.rename import Outcome

JANITOR_AGE = 36 * 3600.0
"""Seconds after which a file in tmp/ is taken for abandoned (maildir(5))."""

_OPEN_AT_ONCE = 32  # files of a batch
_BEGUN_UP_TO = 32  # with more, an early start costs more than it spares (docs/development/measurements.md)
_SYNCFS_FROM = 3  # one syncfs is faster than so many fsyncs one after the other
_SYNCFS_KERNEL = [5, 17]
_RELEASE = os.uname().release.replace("-", ".").replace("+", ".").split(".")[:2]
_KERNEL = [int(number) if number.isdecimal() else 0 for number in _RELEASE]
_FULL = {errno.ENOSPC, errno.EDQUOT}
# a name that is taken; directories that were replaced; a batch's own files were too many to be open;
# a directory that must be let go before it is fetched anew (`Quirks.held_directories_blind`)
_MENDED = {errno.EEXIST, errno.ENOENT, errno.ESTALE, errno.EMFILE, errno.ENFILE}
_MENDED |= {errno.EIO, errno.ETOOMANYREFS, errno.ELOOP, errno.ENOTDIR}


class Attempt:
    """What the jobs of a batch have in common while they are delivered.

    Args:
        fs: the file system's calls.
        path: the Maildir, for messages.
        dirs: its open directories.
        subdir: the one that the jobs go to.
        in_tmp: write them in tmp/; else where they go, under a dot name.
        handoff: renames.

    Attributes:
        two_file_systems: a job could not be renamed out of tmp/.
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
        self._stage, self._prefix = (dirs.tmp, "") if in_tmp else (self._target, ".")
        self._handoff = handoff
        self._deadline = fs.boottime() + JANITOR_AGE / 2
        self._marks: list[float] = []

    def run(self, jobs: Sequence[DeliveryJob], names: NameSource, require: str | None) -> int:
        """Deliver; what became of each is in the job.

        Args:
            names: makes unique names.
            require: refuse a job whose durability would be less than this level.

        Returns:
            How many are delivered.

        Raises:
            OSError: a directory cannot be opened.
        """
        # not where they are written in two directories: those may be two file systems
        self._together = self._in_tmp and len(jobs) >= _SYNCFS_FROM and has_syncfs(self._dirs)
        self._timed = len(jobs) == 1 and jobs[0].timed
        self._begun = quirks(self._dirs.fstype).early_writeout and len(jobs) <= _BEGUN_UP_TO
        barrier = -1
        try:
            if self._together:
                # private, and older than the first write: an error is reported once a descriptor
                barrier = self._fs.open_dir("tmp", self._dirs.root)
            for job, name in zip(jobs, names.new([one.hashed_id for one in jobs]), strict=True):
                job.unique = name
            jobs = self._write(jobs, require)
            if self._together:
                jobs = self._sync_all(barrier, jobs)
            return self._finish(self._publish(jobs))
        finally:
            if barrier >= 0:
                close_quietly(self._fs, barrier)

    def _write(self, jobs: Sequence[DeliveryJob], require: str | None) -> Sequence[DeliveryJob]:
        """Make the jobs' files, complete and closed; those that are."""
        at_once = _OPEN_AT_ONCE if self._together else 1
        if len(jobs) <= at_once:
            return self._write_some(jobs, require)
        parts = [jobs[at : at + at_once] for at in range(0, len(jobs), at_once)]
        return [job for part in parts for job in self._write_some(part, require)]

    def _write_some(self, jobs: Sequence[DeliveryJob], require: str | None) -> Sequence[DeliveryJob]:
        """Each step for all of them before the next: faster than all steps for one, as caches are."""
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
        finally:
            for job in all_:
                if job.fd >= 0:  # interrupted
                    self._throw_away(job)

    def _create(self, jobs: Sequence[DeliveryJob], *_: object) -> None:
        create, stage, prefix = self._fs.create, self._stage, self._prefix
        for job in jobs:
            try:
                job.fd = create(prefix + job.unique, stage)
            except OSError as error:  # one job's error must not become its neighbours'
                self._not_written(job, "create", error)

    def _fill(self, jobs: Sequence[DeliveryJob], *_: object) -> None:
        fs = self._fs
        for job in jobs:
            chunks, size, step = job.chunks, 0, "write"
            try:
                for chunk in joined(chunks):
                    done = fs.write(job.fd, chunk)
                    if done < len(chunk):
                        write_all(fs, job.fd, chunk, done)
                    size += len(chunk)
                if job.mtime_ns is not None:
                    step = "date"
                    fs.utime(self._prefix + job.unique, self._stage, job.mtime_ns)
            except Exception as error:  # noqa: BLE001 - of somebody's stream
                self._not_written(job, step, error)
            job.size = size

    def _sync_files(self, jobs: Sequence[DeliveryJob], require: str | None) -> None:
        """fsync each, or let the disk begin with what one syncfs will wait for."""
        if not self._together:
            for job in jobs:
                try:
                    job.synced = self._fsync(job.fd, require)
                except (OSError, TemporaryError) as error:
                    self._not_written(job, "fsync", error)
        elif self._begun:
            start_writing = self._fs.start_writing
            for job in jobs:
                start_writing(job.fd)

    def _close(self, jobs: Sequence[DeliveryJob], *_: object) -> None:
        close = self._fs.close
        for job in jobs:
            fd, job.fd = job.fd, -1
            try:
                close(fd)
            except OSError as error:
                self._not_written(job, "close", error)
            job.name = job.final or with_size(job.unique, job.size) + job.info

    def _not_written(self, job: DeliveryJob, step: str, error: Exception) -> None:
        self._failed = True
        self._throw_away(job)
        job.error = error
        if isinstance(error, OSError):
            job.again = _worth_a_new_file(step, error)
            place = "tmp" if self._in_tmp else job.subdir
            path = f"{self._path}/{place}/{self._prefix}{job.unique}"
            job.error = storage_error(f"{step} {path}", error)
            job.error.__cause__ = error

    def _throw_away(self, job: DeliveryJob) -> None:
        """Close a file that is not to be published, if it is open, and remove it."""
        fd, job.fd = job.fd, -1
        if fd >= 0:
            close_quietly(self._fs, fd)
        remove_quietly(self._fs, self._stage, self._prefix + job.unique)

    def _fsync(self, fd: int, require: str | None) -> bool:
        """False where the mount has no fsync."""
        if fsync_if_supported(self._fs, fd):
            return True
        if require not in (None, "none"):
            raise TemporaryError(f"{self._path}: the mount cannot fsync, and {require!r} is required")
        return False

    def _sync_all(self, barrier: int, jobs: Sequence[DeliveryJob]) -> Sequence[DeliveryJob]:
        """One syncfs for the batch; if it fails, nobody knows whose pages are lost: all start over."""
        try:
            self._fs.syncfs(barrier)
        except OSError as error:
            for job in jobs:
                remove_quietly(self._fs, self._stage, self._prefix + job.unique)
                job.again = True
                job.error = storage_error(f"syncfs {self._path}", error)
            return []
        return jobs

    def _publish(self, jobs: Sequence[DeliveryJob]) -> Sequence[DeliveryJob]:
        """Rename them into view; those that are there."""
        if not jobs:
            return []
        drafts = [self._prefix + job.unique for job in jobs]
        finals = [job.name for job in jobs]
        ambiguous = self._handoff.publish(
            self._stage,
            drafts,
            self._target,
            finals,
            self._deadline,
            jobs[0].replaces,
            [job.size for job in jobs],
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
        """What to say of a handover that was not done, or is not known to be."""
        error = outcome.error or OSError(errno.EIO, "no error was given")
        path = f"{self._path}/{self._subdir}/{job.name}"
        failure = storage_error(f"rename into {path}", error)
        if outcome.kind != NOT_DONE:
            return UnknownOutcome(f"{failure}; it may be there, keep the message", path)
        if error.errno == errno.EXDEV and self._in_tmp:
            self.two_file_systems = job.again = True
        too_old = self._fs.boottime() > self._deadline
        # a directory that was replaced, or a queue's bucket that was removed, is opened anew
        job.again |= too_old or error.errno in (errno.ENOENT, errno.ESTALE)
        return failure

    def _finish(self, jobs: Sequence[DeliveryJob]) -> int:
        """One fsync of the directory that they are in, and they are delivered; how many."""
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
        return len(jobs)


def _worth_a_new_file(step: str, error: OSError) -> bool:
    """Whether a new file, tried alone, may succeed: after a failed fsync too."""
    if step == "fsync":
        return error.errno not in _FULL
    return step == "create" and error.errno in _MENDED


def has_syncfs(dirs: DeliveryTarget) -> bool:
    """Whether one syncfs makes all files of a batch durable, and reports what it could not write."""
    return quirks(dirs.fstype).syncfs and _KERNEL >= _SYNCFS_KERNEL
