"""Where a link needs no help: it is left to the kernel after a look at its two directories.

Who the caller is costs far more to find out than what the call does. On a file system of this kernel alone
(`quirks`, `replies_get_lost`) that has links, the answer does not depend on it:

* No reply is lost, and nothing is executed late. What the kernel says is what happened.
* What the file system refuses to link, it refuses to rename as well: for the directories' modes, for files
  that are immutable, for project quotas, between subvolumes, when it is full or read-only. The only other
  refusals concern a file with 65,000 names, or one that is another user's (fs.protected_hardlinks), and
  both are answered truly.
* No link is done twice: the kernel links once, after our answer. Our own link can be repeated by its caller
  only before Linux 5.19, and there this is not used (`filter.install`).
* It can never be wrong to leave a call to the kernel: nobody gains a right, and no lock becomes a rename.
  Whoever swaps the path meanwhile has made a call that is not helped, as on a system without the shim.

A security module may permit a rename where it forbids a link; so this is not used under one that confines
the supervisor. The type is not all that is asked for: the shim has made a link itself on the same mount.

Both directories must be seen as the caller sees them: from the same root in the same mount namespace, as the
number of its root's mount shows, and with no more rights (`Actors.seeing_as`): how long a call takes
must not tell a user what there is in closed directories.
"""

from __future__ import annotations

import threading

from maildir_safe._fs import libc
from maildir_safe._fs.mounts import MountTypes
from maildir_safe._fs.quirks import quirks
from maildir_safe._shim.calls import AT_FDCWD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._shim.calls import Call

_MOST = 1024


class Needless:
    """The mounts whose links need no help."""

    def __init__(self) -> None:
        self._types = MountTypes()
        self._root = libc.mount_and_inode("/")
        self._lock = threading.Lock()
        self._links: dict[int, bool] = {}

    def mount(self, tid: int, call: Call, paths: list[str]) -> int | None:
        """The one mount in which both directories of a link are; None: not known, or not one.

        Args:
            tid: the stopped thread.
            call: its link.
            paths: the two paths of the call.
        """
        try:
            if libc.mount_and_inode(f"/proc/{tid}/root") != self._root:
                return None
            found = {
                libc.mount_and_inode(_directory(tid, dir_fd, path))[0]
                for (dir_fd, _), path in zip(call.paths, paths, strict=True)
            }
        except OSError:
            return None
        return found.pop() if len(found) == 1 else None

    def known(self, mount: int) -> bool:
        """Whether links on this mount need no help. To be asked after `mount`, whose answer may be old."""
        with self._lock:
            if self._types.changed():
                self._links.clear()
            return self._links.get(mount, False)

    def learn(self, mount: int) -> None:
        """Take note that this mount has made a link for us."""
        with self._lock:
            if self._types.changed() or len(self._links) >= _MOST:
                self._links.clear()
            if mount not in self._links:
                self._links[mount] = self._is_certain(mount)

    def _is_certain(self, mount: int) -> bool:
        try:
            fstype = self._types.type_of(mount)
        except OSError:
            return False
        return not quirks(fstype).replies_get_lost


def _directory(tid: int, dir_fd: int, path: str) -> str:
    above = path.rpartition("/")[0]
    if path.startswith("/"):
        return above or "/"
    return f"/proc/{tid}/cwd/{above}" if dir_fd == AT_FDCWD else f"/proc/{tid}/fd/{dir_fd}/{above}"
