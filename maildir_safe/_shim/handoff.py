"""One handoff: a link, or a rename if the mount refuses links. Lost replies are resolved.

    link says            | then
    ---------------------+------------------------------------------------------------------
    done                 | done: where links work, nothing changes
    an error, but both   | done, the reply was lost
    names are one file   |
    refused (`REFUSALS`) | the target must be free; rename, by `Handoff`
    any other error      | that error

A rename that is refused at once changes nothing. If the reply was ambiguous and the rename did not take
place, it is withdrawn before the program is told: the source gets another name, so that a request that is
still in flight cannot be executed later. The bytes are kept under that name.
"""

from __future__ import annotations

import errno
import stat

from maildir_safe._handoff.rename import (
    DONE,
    FINAL,
    GONE,
    NOT_DONE,
    WITHDRAWN,
    Handoff,
    close_quietly,
    remove_quietly,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from maildir_safe._fs import FileSystem
    from maildir_safe._handoff.rename import Outcome

    Owns = Callable[[int], bool]

REFUSALS = frozenset(
    {
        errno.EXDEV, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS,
        errno.EMLINK, errno.EIO, errno.EREMOTEIO, errno.EINVAL,
    }
)  # fmt: skip
"""The errors of mounts without links: observed (docs/reference/file-systems.md), or allowed by POSIX."""

_YOUNG = 3600.0  # seconds; no janitor sweeps a program's file in tmp/ that soon


class Result:
    """The outcome of a handoff.

    Attributes:
        error: the errno for the program; 0 if it is done.
        how: a word for the trace: ``linked``, ``renamed``, ``reply lost``, ``refused``, ``unknown``.
        moved: the source's name is gone, although the program has not unlinked it yet.
        aside: the new name of a withdrawn source, in the same directory; else "".
        refusal: the errno of the link itself; 0 if it was done.
    """

    __slots__ = ("aside", "error", "how", "moved", "refusal")

    def __init__(self, error: int, how: str, moved: bool = False, aside: str = "", refusal: int = 0) -> None:
        self.error = error
        self.refusal = refusal
        self.how = how
        self.moved = moved
        self.aside = aside


class LinkHandoff:
    """Does handoffs with the credentials of this process.

    Args:
        fs: the file system's calls.
        owns: whether a file of this user id counts as this process's own.
        resolve_timeout: seconds to wait for caches and servers before an outcome counts as unknown.
    """

    def __init__(self, fs: FileSystem, owns: Owns, resolve_timeout: float | None = None) -> None:
        self._fs = fs
        self._owns = owns
        self._handoff = Handoff(fs) if resolve_timeout is None else Handoff(fs, resolve_timeout)
        self._has_links: dict[int, bool] = {}

    def link(self, src_dir: int, src: str, dst_dir: int, dst: str) -> int:
        """The bare link: its errno, or 0."""
        try:
            self._fs.link(src, dst, src_dir_fd=src_dir, dst_dir_fd=dst_dir)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def do(self, src_dir: int, src: str, dst_dir: int, dst: str, private: bool) -> Result:
        """Give a file its new name.

        Args:
            src_dir, src: the file's directory, by descriptor, and name.
            dst_dir, dst: the new directory and name; the name must be free.
            private: no other process renames the source.
        """
        error = self.link(src_dir, src, dst_dir, dst)
        if not error:
            return Result(0, "linked")
        result = self._refused(src_dir, src, dst_dir, dst, private, error)
        result.refusal = error
        return result

    def _refused(self, src_dir: int, src: str, dst_dir: int, dst: str, private: bool, error: int) -> Result:
        if error == errno.ENOENT or error == errno.ENOTDIR:
            return Result(error, "refused")
        if self._is_one_file(src_dir, src, dst_dir, dst):
            return Result(0, "reply lost")
        if error not in REFUSALS:
            return Result(error, "refused")
        error = self._why_not(src_dir, src, dst_dir, error)
        if error:
            return Result(error, "refused")
        if self._exists(dst_dir, dst):
            return Result(errno.EEXIST, "refused")
        return self._rename(src_dir, src, dst_dir, dst, private)

    def _rename(self, src_dir: int, src: str, dst_dir: int, dst: str, private: bool) -> Result:
        try:  # if the kernel can do it, there is no race between our check and our rename
            self._fs.rename_noreplace(src, dst, src_dir_fd=src_dir, dst_dir_fd=dst_dir)
            return Result(0, "renamed", moved=True)
        except OSError as error:
            if error.errno == errno.EEXIST:
                one = self._is_one_file(src_dir, src, dst_dir, dst)
                return Result(0, "reply lost") if one else Result(errno.EEXIST, "refused")
            ambiguous = error.errno not in FINAL
        deadline = self._fs.boottime() + _YOUNG
        if not private:
            outcome = self._handoff.claim(src_dir, src, dst_dir, dst)
        else:
            unclear = self._handoff.publish(src_dir, [src], dst_dir, [dst], deadline, withdraws=False)
            if src not in unclear:
                return Result(0, "renamed", moved=True)
            outcome = unclear[src]
        code = (outcome.error.errno if outcome.error else 0) or errno.EIO
        if outcome.kind == DONE:
            return Result(0, "renamed", moved=True)
        if outcome.kind == GONE:
            return Result(errno.ENOENT, "refused")
        if outcome.kind != NOT_DONE:
            return Result(errno.EIO, "unknown")
        if private and (ambiguous or outcome.renames > 1):
            return self._withdraw(src_dir, src, outcome, code)
        return Result(code, "refused")

    def _withdraw(self, src_dir: int, src: str, refused: Outcome, code: int) -> Result:
        aside = WITHDRAWN + self._fs.random(8).hex()
        outcome = self._handoff.withdraw(src_dir, src, refused, keep_as=aside)
        if outcome.kind == GONE:  # it was executed late, and before this
            return Result(0, "renamed", moved=True)
        if outcome.kind != NOT_DONE:
            return Result(errno.EIO, "unknown")
        return Result(code, "refused", moved=True, aside=aside)

    def unlink(self, dir_fd: int, name: str) -> int:
        """The bare unlink: its errno, or 0."""
        try:
            self._fs.unlink(name, dir_fd=dir_fd)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def _why_not(self, src_dir: int, src: str, dst_dir: int, error: int) -> int:
        """0 if the mount refuses links and the source is a file that can be handed over; else the errno."""
        try:
            found = self._fs.stat(src, src_dir)
        except FileNotFoundError:
            return errno.ENOENT  # not every file system looks up the source first
        except OSError:
            return error
        if not stat.S_ISREG(found.st_mode):
            return error
        if error != errno.EPERM or self._owns(found.st_uid):
            return 0
        return error if self._mount_links(src_dir, dst_dir) else 0  # it may be fs.protected_hardlinks

    def _mount_links(self, src_dir: int, dst_dir: int) -> bool:
        """Whether the mount has links; tested once, with a file of our own."""
        try:
            device = self._fs.fstat(dst_dir).st_dev
            if device not in self._has_links:
                self._has_links[device] = self._try_link(src_dir, dst_dir)
            return self._has_links[device]
        except OSError:
            return True  # unknown: the program gets the errno of link

    def _try_link(self, src_dir: int, dst_dir: int) -> bool:
        name = f".maildir-safe.{self._fs.random(8).hex()}"
        close_quietly(self._fs, self._fs.create(name, src_dir))
        error = self.link(src_dir, name, dst_dir, name)
        if not error:
            remove_quietly(self._fs, dst_dir, name)
        remove_quietly(self._fs, src_dir, name)
        return error not in REFUSALS

    def _exists(self, dir_fd: int, name: str) -> bool:
        try:
            self._fs.stat(name, dir_fd)
        except FileNotFoundError:
            return False
        except OSError:
            return True  # not known to be free
        return True

    def _is_one_file(self, src_dir: int, src: str, dst_dir: int, dst: str) -> bool:
        """Whether both names are one file: so says the inode, and the number of names or the bytes."""
        try:
            ours, theirs = self._fs.stat(src, src_dir), self._fs.stat(dst, dst_dir)
        except OSError:
            return False
        if not ours.st_ino or (ours.st_dev, ours.st_ino) != (theirs.st_dev, theirs.st_ino):
            return False
        if not stat.S_ISREG(ours.st_mode):
            return False
        return ours.st_nlink > 1 or self._handoff.same_bytes(src_dir, src, dst_dir, dst)
