"""The heart: hand a file over by rename(), and find out what happened when the reply is unclear.

Two rules make every outcome decidable (ARCHITECTURE.md, "The hand-off"):

* **A destination name is used once.** So "it is there" means "my rename happened", and a late
  retransmission can hit nothing.
* **The source is private**, or, where several may want it (`claim`), the destination belongs to
  the claimant alone, so that one wins and each can tell whether it was itself.

After an error from rename, look (both directories opened afresh and listed), then:

    src | dst | meaning                                    | then
    ----+-----+--------------------------------------------+----------------------------------
     -  | yes | done, the reply was lost                   | DONE
    yes |  -  | not done so far                            | repeat; in the end withdraw
     -  |  -  | moved on by a reader; or another's claim   | GONE, once rename says ENOENT too
    yes | its directory was removed                    | NOT_DONE: nothing can enter it any more
    yes | yes | it copies, or src is a second name of dst  | never repeat; same bytes: drop src, DONE
    looking fails or keeps changing                        | wait out the caches, UNKNOWN

A private source whose rename had an ambiguous reply is sealed in the end (`late_calls`), and what was
published is looked at once more: from then on nothing that is executed late can touch it. "GONE" is
"moved on" only if it is found where readers move it: another may have removed the source.

A name counts as absent only if neither a fresh listing nor a look-up shows it: NFS look-ups are
answered from a negative cache for 30 s, and ext4 leaves names out of listings of a directory that
changes meanwhile. An ENOENT from rename itself is the
server's word and outranks a cached "present".

fsync of the destination directory is not done here; it is owed by the caller, after the rename.
"""

from __future__ import annotations

import errno

from maildir_safe._handoff.late_calls import (
    close_quietly,
    remove_quietly,
    remove_second_name,
    same_bytes,
    seal,
    size_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
"""Seconds after which no client cache can hide a name any more: the longest seen is 30 (NFSv3)."""

WITHDRAWN = ".wd."
"""How names of withdrawn files begin; a janitor removes what a crash left of them."""

_REPEATS = (0.01, 0.1, 1.0)
FINAL = {
    errno.EXDEV,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EINVAL,
    errno.ENAMETOOLONG,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EILSEQ,
}
"""Errors with which the server has decided: it did nothing, and will decide the same again."""


class Outcome:
    """What became of a handover.

    Attributes:
        kind: `DONE`, `GONE` (the source is not there and neither is the destination),
            `NOT_DONE` (and never will be) or `UNKNOWN`.
        renames: how many rename calls it took; more than one means that a reply was unclear.
        error: the last error, None if the first call succeeded.
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
        resolve_timeout: seconds to wait for caches and servers before an outcome is called unknown.
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
        sizes: Sequence[int] = (),
        moved_on: Callable[[str], bool] = lambda _: True,
        withdraws: bool = True,
    ) -> dict[str, Outcome]:
        """Rename private files to names that were never used before.

        Args:
            src_dir, srcs: the files, in a directory by descriptor; no one else may rename them.
            dst_dir, dsts: where they shall be seen, in the same order.
            deadline: BOOTTIME in seconds after which a janitor may have removed the sources, so
                that their absence proves nothing; nothing is begun to be published later than this.
            replaces: the names may be there already: not its presence but its bytes tell that one
                is ours, and with NOT_DONE what was there before is there still.
            sizes: bytes of each file, in the same order, to tell it from one that was created late.
            moved_on: whether a destination is found where readers move it; raises OSError.
            withdraws: take away the source of what is NOT_DONE, and seal the source's name after an
                ambiguous rename. Without, the source is where it was, and while it is, a rename whose
                reply was ambiguous may still be executed.

        Returns:
            By source what became of each that was not renamed by its first call; the others are published.
            DONE: published, though a reply was lost. The directory's fsync is owed, as for all.
            NOT_DONE: withdrawn; it is not visible and never will be. The source is gone too.
            UNKNOWN: keep the message; it may be visible or become so.
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
                size = sizes[srcs.index(src)] if sizes else None
                outcome = self._resolve(
                    src_dir, src, dst_dir, dst, error, deadline, 0.0, True, replaces, size
                )
                if withdraws:
                    outcome = self._seal(src_dir, src, dst_dir, dst, size, outcome)
                if outcome.kind == GONE:  # by a reader, or a janitor with a wrong clock
                    known = self._fs.boottime() < deadline and self._has_moved_on(dst, moved_on)
                    outcome = Outcome(DONE if known else UNKNOWN, outcome.renames, outcome.error)
                ambiguous[src] = outcome
        return ambiguous

    def _seal(
        self, src_dir: int, src: str, dst_dir: int, dst: str, size: int | None, outcome: Outcome
    ) -> Outcome:
        """Make the outcome final, whatever is executed late: withdraw what was refused, seal the name."""
        number = outcome.error.errno if outcome.error else 0
        decided = outcome.renames == 1 and number in FINAL  # nothing of it will be executed late
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
        """Whether what was published is there as it was written, or has moved on."""
        if size is None:
            return True
        try:
            found = size_of(self._fs, dst_dir, dst)
        except OSError:
            return False
        if found is None or found == size:
            return True
        if found == 0:  # created late, and renamed late, before the name was sealed
            remove_quietly(self._fs, dst_dir, dst)
        return False

    def _has_moved_on(self, dst: str, moved_on: Callable[[str], bool]) -> bool:
        try:
            return moved_on(dst)
        except OSError:
            return False

    def claim(self, src_dir: int, src: str, dst_dir: int, dst: str, may_be_there: bool = False) -> Outcome:
        """Rename a file that others want too into a directory that is the caller's alone.

        Args:
            may_be_there: the destination may be another name of the same file; one look-up more.

        Returns:
            DONE: it is the caller's. GONE: another has it. NOT_DONE and UNKNOWN: not known to be
            the caller's now, though it may turn up in `dst_dir` later.
        """
        try:
            self._fs.rename(src, dst, src_dir_fd=src_dir, dst_dir_fd=dst_dir)
        except OSError as error:
            return self._claimed(src_dir, src, dst_dir, dst, error)
        if may_be_there and not remove_second_name(self._fs, src_dir, src, dst_dir, dst):
            return Outcome(UNKNOWN, 1, OSError(errno.EIO, "the name that was to be left is still there"))
        return _FIRST_TIME

    def claim_all(
        self, src_dir: int, dst_dir: int, names: list[str], ambiguous: Callable[[str, Outcome], None]
    ) -> None:
        """`claim` for several, which keep their names.

        Args:
            ambiguous: called with the name and the outcome of each that was not renamed by its first
                call; what it raises ends all.
        """
        rename = self._fs.rename
        for name in names:
            try:
                rename(name, name, src_dir_fd=src_dir, dst_dir_fd=dst_dir)
            except OSError as error:
                ambiguous(name, self._claimed(src_dir, name, dst_dir, name, error))

    def _claimed(self, src_dir: int, src: str, dst_dir: int, dst: str, error: OSError) -> Outcome:
        if error.errno != errno.ENOENT:
            outcome = self._resolve(src_dir, src, dst_dir, dst, error, float("inf"), 0.0, private=False)
        else:
            try:  # most often another was faster: one look, at the caller's own directory alone
                mine = self._present(dst_dir, dst)
            except OSError:
                return Outcome(UNKNOWN, 1, error)
            outcome = Outcome(DONE if mine else GONE, 1, error)
        if outcome.kind == DONE and not remove_second_name(self._fs, src_dir, src, dst_dir, dst):
            return Outcome(UNKNOWN, outcome.renames, error)
        return outcome

    def withdraw(self, src_dir: int, src: str, refused: Outcome, keep_as: str | None = None) -> Outcome:
        """Make sure that a refused rename cannot happen later: take its source away.

        A request that a soft mount has given up may still be executed
        (docs/reference/file-systems.md, "Lost replies and absent servers").

        Args:
            src_dir, src: the private file, in a directory by descriptor.
            refused: what became of its rename.
            keep_as: a name that was never used before, under which the file is kept; None removes it.

        Returns:
            NOT_DONE: withdrawn. GONE: the rename took place after all. UNKNOWN.
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
        """Look and repeat until the table above gives an answer or `resolve_timeout` is over."""
        renames, waited = 1, 0.0
        for pause in self._pauses():
            seen = self._look(src_dir, src, dst_dir, dst)
            if seen == (True, True) and (replaces or private):
                if same_bytes(self._fs, src_dir, src, dst_dir, dst):
                    seen = (False, True)  # the source is another name, a copy, or an old look-up
                elif replaces:
                    seen = (True, False)  # what is there was there before
            if seen and seen[0] and size and self._is_empty(src_dir, src):
                # made by a create that was executed late: the rename of the message was done before
                return Outcome(DONE if seen[1] else GONE, renames, error)
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
                continue  # what is published must not be replaced, nor what was created late be published
            renames += 1
            try:
                self._fs.rename(src, dst, src_dir_fd=src_dir, dst_dir_fd=dst_dir)
                return Outcome(DONE, renames, error)
            except OSError as again:
                error = again
        return Outcome(UNKNOWN, renames, error)

    def _is_empty(self, dir_fd: int, name: str) -> bool:
        try:
            return size_of(self._fs, dir_fd, name) == 0
        except OSError:
            return False

    def _pauses(self) -> Iterator[float]:
        yield from _REPEATS
        for share in (0.1, 0.2, 0.3, 0.4, 0.0):
            yield share * self._resolve_timeout

    def _look(self, src_dir: int, src: str, dst_dir: int, dst: str) -> tuple[bool, bool | None] | None:
        """Whether source and destination are there; None if looking fails, or its directory is gone.

        The source's directory first: on Coda tmp/ must be resolved before new/.
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
        try:  # a look-up may still show a source that is gone, and rename's ENOENT does not tell now
            return src in self._fs.listdir(src_dir), None
        except OSError:
            return None

    def _present(self, dir_fd: int, name: str) -> bool:
        if name in self._fs.listdir(dir_fd):
            return True
        try:  # the listing first: a look-up of an absent name is remembered by NFS clients
            self._fs.stat(name, dir_fd)
        except FileNotFoundError:
            return False
        return True

    def same_bytes(self, src_dir: int, src: str, dst_dir: int, dst: str) -> bool:
        """Whether two files are there and have the same contents; False if that cannot be read."""
        return same_bytes(self._fs, src_dir, src, dst_dir, dst)


def _judge(seen: tuple[bool, bool | None] | None, error: OSError, enough: bool, private: bool) -> str | None:
    """One look, read by the table at the top of this file; None: repeat and look again."""
    absent = error.errno == errno.ENOENT  # so says the server of the source
    if seen == (False, True) or (seen == (True, True) and absent and private):
        return DONE
    if seen == (False, False) and absent:
        return GONE
    if seen == (True, False) and not absent and (enough or error.errno in FINAL):
        return NOT_DONE
    if seen == (True, None) and enough:  # a removed directory was empty, and nothing enters it any more
        return NOT_DONE
    return None
