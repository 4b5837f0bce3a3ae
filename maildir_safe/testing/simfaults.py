"""Profiles (how a kind of file system behaves) and faults (which call fails, and how).

Both are plain data. The values of the profiles are measured or documented
(docs/reference/file-systems.md).
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import Literal

Effect = Literal["none", "done", "late", "slow", "both"]
Kind = Literal[
    "open_dir", "create", "open", "read", "write", "fsync", "fsync_dir", "syncfs", "close", "rename",
    "rename_noreplace", "link", "unlink", "mkdir", "rmdir", "listdir", "stat", "fstat", "readlink", "chmod",
    "utime", "any",
]  # fmt: skip

REPEATED_BY_KERNEL = frozenset(
    {
        "open_dir", "create", "open", "rename", "rename_noreplace", "link", "unlink", "mkdir", "rmdir",
        "stat", "readlink", "utime",
    }
)  # fmt: skip
"""Calls with a name that Linux itself repeats once after ESTALE."""

REPEATED_BY_PYTHON = frozenset({"open_dir", "create", "open", "read", "write", "fstat", "chmod"})
"""Calls that CPython itself repeats as long as they fail with EINTR (PEP 475).

Not fsync, which `maildir_safe._fs.fsync` calls without CPython's loop."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How one kind of file system behaves; an errno of 0 means that the call works.

    Attributes:
        name: how tests call it.
        fstype: what `mount` reports.
        network: the files are on a server: a removed directory is ESTALE, not ENOENT.
        link_within, link_across: errno of a hard link inside a directory, between two.
        noreplace: errno of RENAME_NOREPLACE with a free target.
        fsync_dir: errno of fsync on a directory.
        write_back: seconds that a client keeps its changes to itself. Until then no other
            host sees them, fsync promises nothing, and two clients may both win.
        listing, lookup, negative, attributes: seconds that a client answers from its cache.
        refused: characters that no name may have, and `refused_errno` for one that does.
        fold: names that differ in case only are the same name.
        name_max: bytes in the longest name.
        mtime_step: nanoseconds between two times a file can have.
        atime_step: the same for the time of last access (vfat keeps only the day).
        stable_inodes: a file keeps its inode number when it is renamed.
        replicated: servers that were down resolve a directory when it is next looked at.
        open_directories_stay_stale: a directory that a host holds open stays stale after another host
            changed it: until every holder has closed it, listing it says EIO and using it ETOOMANYREFS.
    """

    name: str
    fstype: str
    network: bool = True
    link_within: int = 0
    link_across: int = 0
    noreplace: int = errno.EINVAL
    fsync_dir: int = 0
    write_back: float = 0.0
    listing: float = 0.0
    lookup: float = 0.0
    negative: float = 0.0
    attributes: float = 0.0
    refused: str = ""
    refused_errno: int = errno.EINVAL
    fold: bool = False
    name_max: int = 255
    mtime_step: int = 1
    atime_step: int = 1
    stable_inodes: bool = True
    replicated: bool = False
    open_directories_stay_stale: bool = False


_SECOND = 10**9

PROFILES = {
    profile.name: profile
    for profile in (
        Profile("local", "ext4", network=False, noreplace=0),
        Profile("btrfs", "btrfs", network=False, noreplace=0),
        Profile("nfs3", "nfs", lookup=30, negative=30, attributes=3, mtime_step=10**6),
        Profile("nfs4", "nfs4", lookup=24, negative=24, attributes=3, mtime_step=10**6),
        Profile(
            "coda", "coda", link_across=errno.EXDEV, write_back=20, name_max=254, mtime_step=_SECOND,
            replicated=True, open_directories_stay_stale=True,
        ),
        Profile("afs", "afs", link_across=errno.EREMOTEIO, fsync_dir=errno.EINVAL, mtime_step=_SECOND),
        Profile(
            "smb", "cifs", noreplace=0, listing=1, lookup=1, negative=1, attributes=1, fold=True,
            mtime_step=100,
        ),
        Profile("gluster", "fuse.glusterfs", lookup=1, attributes=1),
        Profile(
            "vfat", "vfat", network=False, link_within=errno.EPERM, link_across=errno.EPERM, noreplace=0,
            refused=':"*<>?|', fold=True, mtime_step=2 * _SECOND, atime_step=86400 * _SECOND,
        ),
        Profile(
            "rclone", "fuse.rclone", link_within=errno.EIO, link_across=errno.EIO, write_back=5,
            mtime_step=_SECOND, stable_inodes=False,
        ),
    )
}  # fmt: skip

LOST_REPLY = {
    "rename": errno.ENOENT,
    "link": errno.EEXIST,
    "unlink": errno.ENOENT,
    "mkdir": errno.EEXIST,
    "rmdir": errno.ENOENT,
    "create": errno.EEXIST,
}
"""The answer to a retransmission after the first request was executed and its reply lost."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the `nth` call of `kind`.

    Attributes:
        kind: which call; ``fsync`` is of a file, ``fsync_dir`` of a directory, ``any`` is every call.
        error: the errno that is raised; 0 for a call that succeeds oddly: a ``write`` or ``read``
            takes half, a ``listdir`` leaves out the names that contain `hides`, as a listing may
            that is made while they are being renamed; the directory's time changes (not if `quiet`).
            ESTALE and EINTR are first answered by kernel and Python (`REPEATED_BY_KERNEL`,
            `REPEATED_BY_PYTHON`): the code under test sees ESTALE only with `times` of two or more.
        effect: ``none``: the call was not executed; ``done``: it was, only its reply was
            lost; ``late``: it will be executed `delay` simulated seconds after the error;
            ``slow``: it takes `delay` seconds, and `error` is 0; ``both``: a rename was executed
            and the old name came back, as GlusterFS's healing may do it: two names of one file
            (not where the profile has no links between directories).
        nth: 1 is the first such call of this host.
        times: how many calls in a row go wrong.
        match: count only calls whose names contain this.
        hides, quiet: see `error`.
    """

    kind: Kind
    error: int = errno.EIO
    effect: Effect = "none"
    nth: int = 1
    times: int = 1
    delay: float = 5.0
    match: str = ""
    hides: str = ""
    quiet: bool = False

    def __str__(self) -> str:
        error = errno.errorcode.get(self.error, "odd")
        late = f" {self.delay:g}s" if self.effect == "late" else ""
        times = f"x{self.times}" if self.times > 1 else ""
        return f"{self.kind}#{self.nth}{times}:{error}/{self.effect}{late}"


@dataclass(slots=True)
class FaultPlan:
    """Counts the calls of one host and decides which of them fail."""

    faults: tuple[Fault, ...] = ()
    hits: list[Fault] = field(default_factory=list)
    _seen: dict[int, int] = field(default_factory=dict)

    def match(self, kind: str, names: str) -> Fault | None:
        """Return the fault of this call, or None."""
        found = None
        for index, fault in enumerate(self.faults):
            if fault.kind in (kind, "any") and fault.match in names:
                seen = self._seen[index] = self._seen.get(index, 0) + 1
                if found is None and fault.nth <= seen < fault.nth + fault.times:
                    found = fault
        if found is not None:
            self.hits.append(found)
        return found
