"""Delivery: write, make durable, publish by one rename, make that durable, and only then say so.

Every delivery is a batch, most of them of one. The order of its steps is what makes it safe
(ARCHITECTURE.md, "Durable before acknowledged"):

1. create, write and close each file in tmp/, with an fsync each, or with one syncfs for all;
2. rename each into new/ (`Handoff.publish`);
3. one fsync of new/, started after the last rename.

What fails in step 1 or 2 is refused and leaves nothing behind; a file whose fsync failed is
written anew, since the kernel may have dropped its pages; a failure in step 3 is
`UnknownOutcome`, because the message is visible by then.
"""

from __future__ import annotations

import errno
import os
from _thread import allocate_lock as Lock

from maildir_safe.commit import UNSUPPORTED, Combiner
from maildir_safe.errors import TemporaryError, UnknownOutcome, fsync_failed, storage_error
from maildir_safe.handoff import DONE, NOT_DONE, Handoff, close_quietly, remove_quietly
from maildir_safe.maildir.receipt import Receipt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from maildir_safe.fs import FileSystem
    from maildir_safe.maildir.directories import Directories
    from maildir_safe.maildir.source import Source
    from maildir_safe.names import UniqueNames

JANITOR_AGE = 36 * 3600.0
"""Seconds after which a file in tmp/ is taken for abandoned (maildir(5))."""

_TRIES = 3
_CROWD = 8  # fewer fsyncs in parallel are faster than one syncfs (FACTS.md section 4)
_SYNCFS_FROM = 3  # but one syncfs is faster than so many fsyncs one after the other, as in a batch
_BATCH = 256
_SYNCFS_TYPES = {"ext4", "xfs", "btrfs", "f2fs", "tmpfs"}  # local, and their syncfs reports errors
_SYNCFS_KERNEL = (5, 17)
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Letter:
    """One message on its way: what it is, where it goes, and what became of it.

    Attributes:
        receipt: set when it is delivered; else `error` says why not.
        final: the name to publish under; by default a new unique name, its size and `info`.
        mtime_ns: the file's date, nanoseconds since 1970; by default when it was written.
        replaces: whether a message under the name `final` may be there already, to be replaced.
    """

    __slots__ = (
        "again",
        "deadline",
        "error",
        "final",
        "hashed_id",
        "info",
        "marks",
        "mtime_ns",
        "name",
        "path",
        "receipt",
        "renames",
        "replaces",
        "size",
        "source",
        "stage",
        "subdir",
        "synced",
        "tries",
    )

    def __init__(self, source: Source, subdir: str = "new", info: str = "", hashed_id: str = "") -> None:
        self.source = source
        self.subdir = subdir
        self.info = info
        self.hashed_id = hashed_id
        self.tries = _TRIES
        self.final = ""
        self.mtime_ns: int | None = None
        self.replaces = False
        self.receipt: Receipt | None = None
        self.reset()

    def reset(self) -> None:
        """Ready for an attempt."""
        self.again = False
        self.error: BaseException | None = None
        self.marks: tuple[float, ...] = ()
        self.stage = -1
        self.name = ""
        self.path = ""
        self.size = 0
        self.renames = 0
        self.synced = True
        self.deadline = 0.0

    def outcome(self) -> Receipt | BaseException:
        """The receipt, or why there is none."""
        return self.receipt or self.error or UnknownOutcome("the delivery was interrupted")

    def result(self) -> Receipt:
        """The receipt, or the error raised."""
        outcome = self.outcome()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class Delivery:
    """Puts letters into one Maildir. Thread-safe.

    Args:
        fs: the file system's calls.
        path: the Maildir, for receipts and messages.
        directories: gives the open directories; called with True, opens them anew.
        names: makes unique names.
        staging: ``"tmp"``, or ``"new"`` to write where the message goes, under a dot name.
        require: refuse a letter whose durability would be less than this level.
        patience: see `Handoff`.
    """

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        directories: Callable[[bool], Directories],
        names: UniqueNames,
        staging: str,
        require: str | None,
        patience: float,
    ) -> None:
        self._fs = fs
        self._path = path
        self._directories = directories
        self._names = names
        self._staging = staging
        self._require = require
        self._handoff = Handoff(fs, patience)
        self._combiner = Combiner(_BATCH)
        self._lock = Lock()
        self._outstanding = 0

    def deliver(self, letter: Letter) -> Receipt:
        """Deliver one letter; concurrent callers share fsyncs.

        Raises:
            TemporaryError: not delivered, and nothing is left of it.
            UnknownOutcome: delivered or not; the caller keeps the message.
        """
        with self._lock:
            self._outstanding += 1
            crowded = self._outstanding >= _CROWD
        try:
            if crowded and _has_syncfs(self._directories(False)):
                self._combiner.run(letter, self.commit)
            else:
                self.commit([letter])
        finally:
            with self._lock:
                self._outstanding -= 1
        return letter.result()

    def commit(self, letters: list[Letter]) -> None:
        """Deliver any number of letters in batches; what became of each is in the letter."""
        for start in range(0, len(letters), _BATCH):
            batch = letters[start : start + _BATCH]
            self._attempt(batch)
            for letter in batch:
                if letter.again and letter.source.repeatable and letter.tries > 1:
                    letter.tries -= 1
                    letter.reset()
                    self.commit([letter])  # alone, so that only what is at fault is refused

    def _attempt(self, batch: list[Letter]) -> None:
        barrier = None
        staging = self._staging  # another thread may change it meanwhile
        try:
            dirs = self._directories(batch[0].tries < _TRIES)
            # not where letters are written in two directories: they may be two file systems
            if staging == "tmp" and len(batch) >= _SYNCFS_FROM and _has_syncfs(dirs):
                # private, and older than the first write: an error is reported once a descriptor
                barrier = self._fs.open_dir("tmp", dirs.root)
            written = _each(batch, self._write, dirs, staging, barrier is None)
            if barrier is not None:
                written = self._sync_all(barrier, written)
            published = _each(written, self._publish, dirs)
            self._finish(dirs, published)
        except (OSError, TemporaryError) as error:  # the directories cannot be opened
            for letter in batch:
                letter.error = (
                    error if isinstance(error, TemporaryError) else storage_error(self._path, error)
                )
        finally:
            if barrier is not None:
                close_quietly(self._fs, barrier)

    def _write(self, letter: Letter, dirs: Directories, staging: str, fsync: bool) -> None:
        """Make the letter's file, complete and closed, in tmp/ or under a dot name where it goes."""
        fs, now = self._fs, self._fs.monotonic
        in_tmp = staging == "tmp"
        letter.stage = dirs.tmp if in_tmp else dirs.fd(letter.subdir)
        letter.name = self._names.new(letter.hashed_id)
        letter.deadline = fs.boottime() + JANITOR_AGE / 2
        draft = letter.name if in_tmp else "." + letter.name
        fd, step = -1, "create"
        try:
            started = now()
            fd = fs.create(draft, letter.stage)
            created = now()
            step = "write"
            for chunk in letter.source.chunks():
                letter.size += _write_fully(fs, fd, chunk)
            if letter.mtime_ns is not None:
                step = "date"
                fs.utime(draft, letter.stage, letter.mtime_ns)
            written = now()
            if fsync:
                step = "fsync"
                letter.synced = self._fsync(fd)
            synced = now()
            step, closing, fd = "close", fd, -1
            fs.close(closing)
            letter.marks = (started, created, written, synced, now())
        except BaseException as error:
            if fd >= 0:
                close_quietly(fs, fd)
            remove_quietly(fs, letter.stage, draft)
            if not isinstance(error, OSError):
                raise
            letter.again = _worth_a_new_file(step, error)
            place = "tmp" if in_tmp else letter.subdir
            raise storage_error(f"{step} {self._path}/{place}/{draft}", error) from error
        letter.name = draft

    def _fsync(self, fd: int) -> bool:
        """False where the mount has no fsync."""
        try:
            self._fs.fsync(fd)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            if self._require not in (None, "none"):
                raise TemporaryError(
                    f"{self._path}: the mount cannot fsync, and {self._require!r} is required"
                ) from None
            return False
        return True

    def _sync_all(self, barrier: int, letters: list[Letter]) -> list[Letter]:
        """One syncfs for the batch; if it fails, nobody knows whose pages are lost: all start over."""
        try:
            self._fs.syncfs(barrier)
        except OSError as error:
            for letter in letters:
                remove_quietly(self._fs, letter.stage, letter.name)
                letter.again = True
                letter.error = storage_error(f"syncfs {self._path}", error)
            return []
        return letters

    def _publish(self, letter: Letter, dirs: Directories) -> None:
        final = letter.final or f"{letter.name.lstrip('.')},S={letter.size}{letter.info}"
        letter.path = f"{self._path}/{letter.subdir}/{final}"
        hand_over = self._handoff.replace if letter.replaces else self._handoff.publish
        outcome = hand_over(letter.stage, letter.name, dirs.fd(letter.subdir), final, letter.deadline)
        letter.renames = outcome.renames
        letter.marks += (self._fs.monotonic(),)
        letter.name = final
        if outcome.kind == DONE:
            return
        error = outcome.error or OSError(errno.EIO, "no error was given")
        what = f"rename into {letter.path}"
        if outcome.kind == NOT_DONE:
            if error.errno == errno.EXDEV and letter.stage == dirs.tmp:
                self._staging = "new"  # two file systems: from now on write where the message goes
                letter.again = True
            too_old = self._fs.boottime() > letter.deadline
            # a directory that was replaced, or a queue's bucket that was removed, is opened anew
            letter.again |= too_old or error.errno in (errno.ENOENT, errno.ESTALE)
            raise storage_error(what, error)
        raise UnknownOutcome(f"{storage_error(what, error)}; it may be there, keep the message", letter.path)

    def _finish(self, dirs: Directories, letters: list[Letter]) -> None:
        """One fsync for each directory that was published into, then the receipts."""
        for subdir in {letter.subdir for letter in letters}:
            mine = [letter for letter in letters if letter.subdir == subdir]
            level = dirs.durability
            try:
                if not dirs.sync[subdir].sync() and level == "full":
                    level = "file"
            except OSError as error:
                for letter in mine:
                    letter.error = fsync_failed(f"{self._path}/{subdir}", letter.path, error)
                continue
            done = self._fs.monotonic()
            for letter in mine:
                letter.receipt = Receipt(
                    letter.path,
                    letter.name[: len(letter.name) - len(letter.info)],
                    level if letter.synced else "none",
                    letter.size,
                    letter.renames,
                    (*letter.marks, done) if len(letters) == 1 else (),
                )


def _each(letters: list[Letter], step: Callable[..., None], *arguments: object) -> list[Letter]:
    """Those letters for which the step succeeded; the others have their error."""
    good = []
    for letter in letters:
        try:
            step(letter, *arguments)
        except Exception as error:  # noqa: BLE001 - one letter's error must not become its neighbours'
            letter.error = error
        else:
            good.append(letter)
    return good


def _write_fully(fs: FileSystem, fd: int, data: bytes) -> int:
    done = fs.write(fd, data)
    while done < len(data):  # signals, quotas and pipes make short writes
        done += fs.write(fd, memoryview(data)[done:])
    return done


def _worth_a_new_file(step: str, error: OSError) -> bool:
    """Whether a new file may succeed: after a failed fsync, a taken name, or in directories opened anew."""
    if step == "fsync":
        return error.errno not in _FULL
    return step == "create" and error.errno in (errno.EEXIST, errno.ENOENT, errno.ESTALE)


def _has_syncfs(dirs: Directories) -> bool:
    if dirs.fstype not in _SYNCFS_TYPES:
        return False
    major, minor = os.uname().release.replace("-", ".").replace("+", ".").split(".")[:2]
    return (int(major), int(minor)) >= _SYNCFS_KERNEL
