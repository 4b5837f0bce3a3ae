"""The handoff of a file by rename(), and how its outcome is determined after an ambiguous reply.

Two rules make every outcome decidable (ARCHITECTURE.md, "The handoff"):

* **A destination name is used once.** If the destination exists, the rename has happened, and a request
  that is executed late finds nothing to move.
* **`publish` has a private source; `claim` has a private destination.** Several workers may claim one
  source, but only one rename succeeds, and each worker can see in its own directory whether it was its own.

After an error from rename, both directories are opened again and listed. What they show decides:

    src | dst  | meaning                            | publish                     | claim
    ----+------+------------------------------------+-----------------------------+----------------------
     -  | yes  | done; the reply was lost           | DONE                        | DONE
    yes |  -   | not done so far                    | repeat; then withdraw:      | repeat; then NOT_DONE
        |      |                                    | NOT_DONE                    |
     -  |  -   | and rename said ENOENT: another    | DONE if a reader has it,    | GONE
        |      | has moved the source               | else UNKNOWN                |
    yes | gone | the directory of dst was removed   | withdraw: NOT_DONE          | NOT_DONE
    yes | yes  | rename copies, or both are names   | never repeat; DONE if the   | repeat; then DONE if both
        |      | of one file, or a look-up is stale | bytes are the same or       | are one file, else UNKNOWN
        |      |                                    | rename said ENOENT,         |
        |      |                                    | else UNKNOWN                |
    looking fails, or the view keeps changing       | wait until every client cache has expired; UNKNOWN

If the first rename of a claim says ENOENT, another worker was probably faster. Then only the destination
is looked at: DONE if it exists, else GONE.

DONE with a second name of the file removes the source name. In `publish` a private source whose rename
had an ambiguous reply is sealed at the end (`late_calls`), and the published file is checked once more:
from then on no call that is executed late can change it. A missing file counts as "moved on by a reader"
only if it is found where readers move it, since somebody else may have removed the source.

A name counts as absent only if neither a fresh listing nor a look-up shows it: NFS answers look-ups from
a negative cache for 30 s, and ext4 omits names from the listing of a directory that changes concurrently.
ENOENT from rename is the server's own answer and outranks a cached "present". A private source that has a
second name (st_nlink, by a descriptor opened anew) was renamed, whatever a listing shows of the destination.

The caller must fsync the destination directory after the rename; this module does not.
"""

from __future__ import annotations

import errno

from maildir_safe._handoff.late_calls import (
    close_quietly,
    remove_quietly,
    remove_second_name,
    same_bytes,
    same_file,
    seal,
    status_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator

    from maildir_safe._fs import FileSystem

__all__ = [
    "DONE", "GONE", "NOT_DONE", "RESOLVE_TIMEOUT", "UNKNOWN", "WITHDRAWN", "Handoff", "Outcome",
    "close_quietly", "remove_quietly",
]  # fmt: skip

DONE = "done"
GONE = "gone"
NOT_DONE = "not done"
UNKNOWN = "unknown"

RESOLVE_TIMEOUT = 35.0
"""Seconds after which no client cache can hide a name any more; the longest seen was 30 (NFSv3)."""

WITHDRAWN = ".wd."
"""The prefix of the names of withdrawn files; the janitor removes those that a crash has left."""

_REPEATS = (0.01, 0.1, 1.0)
FINAL = {
    errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EINVAL,
    errno.ENAMETOOLONG, errno.EOPNOTSUPP, errno.ENOSYS, errno.EILSEQ,
}  # fmt: skip
"""Final errors: the server did nothing, and would answer a repeated call in the same way."""


class Outcome:
    """The outcome of a handoff.

    Attributes:
        kind: `DONE`, `NOT_DONE`, `UNKNOWN`, or for a claim also `GONE`: neither source nor destination
            exists. What each of them promises is documented at `Handoff.publish` and `Handoff.claim`.
        renames: the number of rename calls made; more than one means that a reply was ambiguous.
        error: the last error; None if the first call succeeded.
    """

    __slots__ = ("error", "kind", "renames")

    def __init__(self, kind: str, renames: int, error: OSError | None) -> None:
        self.kind = kind
        self.renames = renames
        self.error = error

    def __repr__(self) -> str:
        return f"Outcome({self.kind!r}, renames={self.renames}, error={self.error!r})"


_FIRST_TIME = Outcome(DONE, 1, None)


class Handoff:
    """Hands files over within one file system.

    Args:
        fs: the file system's calls.
        resolve_timeout: seconds to wait for caches and servers before an outcome is reported unknown.
    """

    def __init__(self, fs: FileSystem, resolve_timeout: float = RESOLVE_TIMEOUT) -> None:
        self._fs = fs
        self._resolve_timeout = resolve_timeout

    def publish(
        self,
        src_dir: int,
        srcs: list[str],
        dst_dir: int,
        dsts: list[str],
        deadline: float,
        replaces: bool = False,
        size_of: Callable[[int], int] | None = None,
        moved_on: Callable[[str], bool] = lambda _: True,
        withdraws: bool = True,
    ) -> dict[str, Outcome]:
        """Rename private files to names that were never used before.

        Args:
            src_dir, srcs: the directory, by descriptor, and the files in it; nobody else renames them.
            dst_dir, dsts: the directory and the names to publish them under, in the same order.
            deadline: a time on the BOOTTIME clock in seconds. After it a janitor may have removed the
                sources, so that their absence proves nothing; then no publication is started.
            replaces: the destinations may exist already. A destination is then recognised as ours by its
                bytes and not by its presence, and with NOT_DONE the previous file is still there.
            size_of: returns the size in bytes of the file at an index of `srcs`; it distinguishes the file
                from an empty one that a late create has made. None: sizes are not known.
            moved_on: reports whether a destination is found where readers move it; may raise OSError.
            withdraws: remove the source of each NOT_DONE file, and seal the source name after an ambiguous
                rename. If False, the source stays in place, and as long as it does, a rename with an
                ambiguous reply may still be executed.

        Returns:
            The outcome, by source, of each file that its first rename call did not move; all others are
            published.
            DONE: published, although a reply was lost. The caller must fsync the directory, as always.
            NOT_DONE: not visible, and with `withdraws` it never will be, and the source is gone.
            UNKNOWN: it may be visible or become visible; keep the message.
        """
        rename, ambiguous = self._fs.rename, {}
        if self._fs.boottime() > deadline:
            late = Outcome(NOT_DONE, 0, OSError(errno.ETIMEDOUT, "too old to be published"))
            if not withdraws:
                return dict.fromkeys(srcs, late)
            return {src: self.withdraw(src_dir, src, late) for src in srcs}
        for src, dst in zip(srcs, dsts, strict=True):
            try:
                rename(src, dst, src_dir_fd=src_dir, dst_dir_fd=dst_dir)
            except OSError as error:
                size = size_of(srcs.index(src)) if size_of else None
                outcome = self._resolve(
                    src_dir, src, dst_dir, dst, error, deadline, 0.0, True, replaces, size
                )
                if withdraws:
                    outcome = self._seal(src_dir, src, dst_dir, dst, size, outcome)
                if outcome.kind == GONE:  # moved by a reader, or removed by a janitor with a wrong clock
                    known = self._fs.boottime() < deadline and self._has_moved_on(dst, moved_on)
                    outcome = Outcome(DONE if known else UNKNOWN, outcome.renames, outcome.error)
                ambiguous[src] = outcome
        return ambiguous

    def _seal(
        self, src_dir: int, src: str, dst_dir: int, dst: str, size: int | None, outcome: Outcome
    ) -> Outcome:
        """Make the outcome final against late calls: withdraw a refused file and seal the source name."""
        number = outcome.error.errno if outcome.error else 0
        decided = outcome.renames == 1 and number in FINAL  # no part of it will be executed late
        if outcome.kind == NOT_DONE:
            decided |= number == errno.ENOENT  # the directory was removed
            outcome = self.withdraw(src_dir, src, outcome)
        if outcome.kind == UNKNOWN or decided:
            return outcome
        sealed = seal(self._fs, src_dir, src)
        if outcome.kind == DONE and not (sealed and self._is_whole(dst_dir, dst, size)):
            return Outcome(UNKNOWN, outcome.renames, outcome.error)
        return outcome

    def _is_whole(self, dst_dir: int, dst: str, size: int | None) -> bool:
        """Report whether the published file has its full size, or has been moved by a reader."""
        if size is None:
            return True
        try:
            found = status_of(self._fs, dst_dir, dst)
        except OSError:
            return False
        if found is None or found.st_size == size:
            return True
        if found.st_size == 0:  # a late create and a late rename came before the seal
            remove_quietly(self._fs, dst_dir, dst)
        return False

    def _has_moved_on(self, dst: str, moved_on: Callable[[str], bool]) -> bool:
        try:
            return moved_on(dst)
        except OSError:
            return False

    def claim(self, src_dir: int, src: str, dst_dir: int, dst: str, may_be_there: bool = False) -> Outcome:
        """Rename a file that others may also claim into a directory that only the caller uses.

        Args:
            may_be_there: the destination may be another name of the same file; costs one more look-up.

        Returns:
            DONE: the file is the caller's. GONE: another worker has it. NOT_DONE and UNKNOWN: the file
            is not known to be the caller's, but may still appear in `dst_dir` later.
        """
        try:
            self._fs.rename(src, dst, src_dir_fd=src_dir, dst_dir_fd=dst_dir)
        except OSError as error:
            return self._claimed(src_dir, src, dst_dir, dst, error)
        if may_be_there and not remove_second_name(self._fs, src_dir, src, dst_dir, dst):
            return Outcome(UNKNOWN, 1, OSError(errno.EIO, "the source name still exists"))
        return _FIRST_TIME

    def claim_all(self, src_dir: int, dst_dir: int, names: Iterable[str]) -> dict[str, Outcome]:
        """`claim` for several files, which keep their names. It ends at the first NOT_DONE or UNKNOWN.

        Returns:
            The outcome of each file that its first rename call did not move, in order, by name.
        """
        rename, ambiguous = self._fs.rename, {}
        for name in names:
            try:
                rename(name, name, src_dir_fd=src_dir, dst_dir_fd=dst_dir)
            except OSError as error:
                outcome = self._claimed(src_dir, name, dst_dir, name, error)
                ambiguous[name] = outcome
                if outcome.kind not in (DONE, GONE):
                    break
        return ambiguous

    def _claimed(self, src_dir: int, src: str, dst_dir: int, dst: str, error: OSError) -> Outcome:
        if error.errno != errno.ENOENT:
            outcome = self._resolve(src_dir, src, dst_dir, dst, error, float("inf"), 0.0, private=False)
        else:
            try:  # usually another was faster: one look at the caller's own directory is enough
                mine = self._present(dst_dir, dst)
            except OSError:
                return Outcome(UNKNOWN, 1, error)
            outcome = Outcome(DONE if mine else GONE, 1, error)
        if outcome.kind == DONE and not remove_second_name(self._fs, src_dir, src, dst_dir, dst):
            return Outcome(UNKNOWN, outcome.renames, error)
        return outcome

    def withdraw(self, src_dir: int, src: str, refused: Outcome, keep_as: str | None = None) -> Outcome:
        """Rename the source of a refused rename aside, so that the rename can never happen later.

        The server may still execute a request on which a soft mount has given up
        (docs/reference/file-systems.md, "Lost replies and absent servers").

        Args:
            src_dir, src: the directory, by descriptor, and the private file in it.
            refused: the outcome of its rename.
            keep_as: a name that was never used before, under which the file is kept; None removes it.

        Returns:
            NOT_DONE: withdrawn. GONE: the rename happened after all. UNKNOWN: cannot be determined.
        """
        aside = keep_as or WITHDRAWN + self._fs.random(8).hex()
        try:
            self._fs.rename(src, aside, src_dir_fd=src_dir, dst_dir_fd=src_dir)
            outcome = _FIRST_TIME
        except OSError as error:
            outcome = self._resolve(
                src_dir, src, src_dir, aside, error, float("inf"), self._resolve_timeout, private=True
            )
        renames = refused.renames + outcome.renames
        if outcome.kind == DONE:
            if keep_as is None:
                remove_quietly(self._fs, src_dir, aside)
            return Outcome(NOT_DONE, renames, refused.error)
        return Outcome(GONE if outcome.kind == GONE else UNKNOWN, renames, refused.error)

    def _resolve(
        self,
        src_dir: int,
        src: str,
        dst_dir: int,
        dst: str,
        error: OSError,
        deadline: float,
        gone_after: float,
        private: bool,
        replaces: bool = False,
        size: int | None = None,
    ) -> Outcome:
        """Look and repeat until the table above gives an outcome or `resolve_timeout` has passed."""
        renames, waited = 1, 0.0
        for pause in self._pauses():
            seen = self._look(src_dir, src, dst_dir, dst)
            if seen == (True, True) and (replaces or private):
                if same_bytes(self._fs, src_dir, src, dst_dir, dst):
                    seen = (False, True)  # the source is a second name, a copy or a stale look-up
                elif replaces:
                    seen = (True, False)  # the destination is the file that is to be replaced
            elif seen == (True, True) and renames > len(_REPEATS):  # a claim: the caller removes the name
                seen = (not same_file(self._fs, src_dir, src, dst_dir, dst), True)
            if seen and seen[0] and size and (source := self._status(src_dir, src)):
                if source.st_size == 0:  # a late create made this file: the message had been renamed before
                    return Outcome(DONE if seen[1] else GONE, renames, error)
                if seen == (True, False) and private and source.st_nlink > 1:
                    seen = None  # the source is a second name: it was renamed, and a cache hides that
            kind = _judge(seen, error, renames > len(_REPEATS), private)
            if kind == GONE and waited < gone_after:
                kind = None
            if kind is not None:
                return Outcome(kind, renames, error)
            self._fs.sleep(pause)
            waited += pause
            if self._fs.boottime() > deadline:
                break
            if private and (seen is None or seen[1]):
                continue  # do not replace the published file, nor publish a late create's
            renames += 1
            try:
                self._fs.rename(src, dst, src_dir_fd=src_dir, dst_dir_fd=dst_dir)
                return Outcome(DONE, renames, error)
            except OSError as again:
                error = again
        return Outcome(UNKNOWN, renames, error)

    def _status(self, dir_fd: int, name: str) -> os.stat_result | None:
        try:
            return status_of(self._fs, dir_fd, name)
        except OSError:
            return None

    def _pauses(self) -> Iterator[float]:
        yield from _REPEATS
        for share in (0.1, 0.2, 0.3, 0.4, 0.0):
            yield share * self._resolve_timeout

    def _look(self, src_dir: int, src: str, dst_dir: int, dst: str) -> tuple[bool, bool | None] | None:
        """Return whether source and destination exist.

        The destination is None if its directory was removed; the result is None if looking fails. The
        source's directory comes first: on Coda, tmp/ must be resolved before new/.
        """
        try:
            there = self._present(src_dir, src)
        except OSError:
            return None
        try:
            seen = self._present(dst_dir, dst)
            if seen or self._fs.fstat(dst_dir).st_nlink:  # a removed directory is listed as empty
                return there, seen
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESTALE):
                return None
        try:  # a look-up may show a source that is gone; rename's ENOENT proves nothing now
            return src in self._fs.listdir(src_dir), None
        except OSError:
            return None

    def _present(self, dir_fd: int, name: str) -> bool:
        if name in self._fs.listdir(dir_fd):
            return True
        try:  # list first: NFS clients cache the look-up of an absent name
            self._fs.stat(name, dir_fd)
        except FileNotFoundError:
            return False
        return True

    def same_bytes(self, src_dir: int, src: str, dst_dir: int, dst: str) -> bool:
        """Report whether two files exist and have the same contents; False if that cannot be read."""
        return same_bytes(self._fs, src_dir, src, dst_dir, dst)


def _judge(seen: tuple[bool, bool | None] | None, error: OSError, enough: bool, private: bool) -> str | None:
    """Return the outcome of one look by the table at the top of this file; None: repeat and look again."""
    absent = error.errno == errno.ENOENT  # the server's own answer about the source
    if seen == (False, True) or (seen == (True, True) and absent and private):
        return DONE
    if seen == (False, False) and absent:
        return GONE
    if seen == (True, False) and not absent and (enough or error.errno in FINAL):
        return NOT_DONE
    if seen == (True, None) and enough:  # a removed directory was empty, and nothing can enter it
        return NOT_DONE
    return None
