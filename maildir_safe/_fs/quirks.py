"""How each type of file system deviates from an ordinary local one: the only table of its kind.

Everything that the code looks up by a file system's type is a cell of this table; `quirks` returns the
row. An unknown type, and a cell that a row does not set, has the value in `Quirks`. What a probe has
measured on a mount (`maildir_safe._fs.stored_options`) overrides the table.

Some behaviour is recognised not by type but by an errno or a name, where it occurs:

* errnos of a stale or conflicting directory (Coda): `_delivery/attempt.py`, `_maildir/handles.py`
* links that stand for a conflict (Coda): `_maildir/conflict.py`
* short aliases in a listing (vfat): `_handoff/listing.py`
* second names of one file (GlusterFS): `_handoff/late_calls.py`, `_queue/store/second_names.py`
* an attribute that lists a file's copies (GlusterFS): `_probe/mount_type.py`

The comment beside a cell gives its source: a public document, or the command of this repository that
shows the behaviour. `deliver` loads this module, so it is plain data.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Quirks:
    """One row of the table. The defaults describe an ordinary local file system.

    Attributes:
        family: a group of types with the same options and counters: ``"nfs"``, ``"smb"``; else ``""``.
        colon: whether a name with ``:`` may be attempted. A mount that refuses it cleanly needs no row.
        one_rename_wins: whether exactly one of two hosts that rename the same file succeeds. If not,
            hosts must not share a spool (stored option ``shared``).
        hidden_for: the visibility delay: for at most this many seconds after one host changes a
            directory, another host may still see the old state (stored option ``hidden_for``).
        seen_at_once: whether it is known that other hosts see a change at once, as two mounts of it did.
        durability: the best that an fsync can promise, as one of `receipt.DURABILITY_LEVELS`.
        survives_client_crash: False where every call succeeds, but fsynced data exists only as long as
            the mount's own process.
        syncfs: whether syncfs(2) makes all files durable and reports failed writes.
        interrupted: whether fsync may fail with EINTR, its own or a server's.
        early_writeout: whether a batch is faster if writeback of its pages starts before syncfs.
        old_names_return: whether a crash after the fsync of one directory can restore the name that a
            file had in another directory, so that the whole file system must be synced.
        replies_get_lost: whether a call may fail although it was executed, or is executed later. On a
            file system of this kernel alone no call is.
        staging: where messages are written: ``"tmp"``, or ``"new"`` under a dot name.
        open_directories_stay_stale: whether a directory that any process of this host holds open
            keeps showing its old contents after another host has changed it.
        known: for people: ``"bad"`` or ``"note"``, what is known, and the remedy.
        options: for people: mount options that break a promise, each with its remedy.

    Raises:
        TypeError: there is no such cell.
    """

    family = ""
    colon = True
    one_rename_wins = True
    hidden_for = 0.0
    seen_at_once = False
    durability = "full"
    survives_client_crash = True
    syncfs = False
    interrupted = True
    early_writeout = False
    old_names_return = False
    replies_get_lost = True
    staging = "tmp"
    open_directories_stay_stale = False
    known: tuple[str, str, str] | None = None
    options: dict[str, str] = {}

    def __init__(self, **cells: Any) -> None:
        for cell in cells:
            if not hasattr(Quirks, cell):
                raise TypeError(f"no quirk is called {cell!r}")
        self.__dict__ = cells


def quirks(fstype: str) -> Quirks:
    """Return the row of a type, as named in /proc/self/mountinfo; an unknown type has an ordinary row."""
    return _TABLE.get(fstype, _ORDINARY)


_ORDINARY = Quirks()
# syncfs reports failed writes since Linux 5.8: syncfs(2). FUSE and network mounts do not pass it on.
# fsync on these types waits for the disk, and only a fatal signal ends the wait: fsync(2) names no EINTR
# one kernel has it mounted, so all processes see one state, and each call's result is the driver's own
_LOCAL = {"syncfs": True, "interrupted": False, "seen_at_once": True, "replies_get_lost": False}
# a rename is not written in one step: mkfs.fat(8), exfat(5); ext2 has no journal
_NO_JOURNAL = {
    "seen_at_once": True,  # as _LOCAL
    "known": (
        "note",
        "no journal: a crash may lose a rename",
        "for mail that matters, a journaling file system",
    ),
}
_NFS = {
    "family": "nfs",
    # a name looked up too early stays absent for 30 s (24 s on 4.2): tests/system/test_guest.py
    "hidden_for": 30.0,
    "options": {
        # nfs(5), "soft"; tests/system/guest_replies.py
        "soft": "a request given up here may be executed later: mount with 'hard'",
        "softerr": "a request given up here may be executed later: mount with 'hard'",
        # nfs(5), "lock" and "local_lock"
        "nolock": "fcntl locks do not reach other hosts: maildir_safe needs none, other programs may",
        "local_lock=all": "fcntl locks do not reach other hosts: maildir_safe needs none, other programs may",
        "async": "the export, not the mount, decides: see exports(5), 'sync'",
    },
}
_EXT4_OPTIONS = {
    # ext4(5)
    "nobarrier": "a power failure may lose acknowledged mail: mount with 'barrier'",
    "data=writeback": "after a crash files may hold old blocks, unless fsynced: messages are",
}

_TABLE = {
    # fewer commits per batch: python -m benchmarks.deliver
    "ext4": Quirks(**_LOCAL, early_writeout=True, options=_EXT4_OPTIONS),
    "xfs": Quirks(**_LOCAL),
    "ext3": Quirks(**_LOCAL, options=_EXT4_OPTIONS),  # ext4's driver mounts it
    "reiserfs": Quirks(**_LOCAL),
    "jfs": Quirks(
        **_LOCAL,
        # docs/reference/file-systems.md, "Local file systems"
        durability="client",
        known=(
            "bad",
            "after a crash jfs_fsck could not replay the journal: files that were fsynced were gone",
            "another file system",
        ),
    ),
    "f2fs": Quirks(**_LOCAL),
    # a crash restores a file's earlier name even after an fsync of the directory into which it was moved,
    # or of one through which it was moved and from which it was removed: tests/crash/test_disk_queue.py
    "btrfs": Quirks(**_LOCAL, old_names_return=True),
    "tmpfs": Quirks(
        **_LOCAL,
        known=("note", "in memory: a crash loses all", "only for tests and spools that may be lost"),
    ),
    "ext2": Quirks(**_NO_JOURNAL),
    "vfat": Quirks(**_NO_JOURNAL),
    "exfat": Quirks(**_NO_JOURNAL),
    "fuseblk": Quirks(**_NO_JOURNAL),
    "fuse.fusefat": Quirks(**_NO_JOURNAL),
    "nfs": Quirks(**_NFS),
    "nfs4": Quirks(**_NFS),
    "cifs": Quirks(
        family="smb",
        hidden_for=5.0,  # mount.cifs(8), "actimeo" and "cache"
        options={
            # mount.cifs(8)
            "cache=loose": "other hosts' writes may stay unseen: cache=strict",
            "nobrl": "locks do not reach other hosts: maildir_safe needs none, other programs may",
        },
    ),
    "afs": Quirks(hidden_for=5.0),  # tests/system/test_guest.py
    "fuse.sshfs": Quirks(hidden_for=20.0),  # sshfs(1), "dcache_timeout"
    # as _LOCAL
    "overlay": Quirks(seen_at_once=True),
    "zfs": Quirks(seen_at_once=True),
    # two mounts of each: docs/reference/file-systems.md, "How long a mount hides changes"
    "ceph": Quirks(seen_at_once=True),
    "fuse.ceph-fuse": Quirks(seen_at_once=True),
    "fuse.glusterfs": Quirks(
        seen_at_once=True,
        # Gluster's documentation, "network.ping-timeout": 42 s by default
        known=("note", "a server that is cut off stops writing for 42 s", "network.ping-timeout: some 10 s"),
    ),
    "fuse.rclone": Quirks(
        hidden_for=5.0,  # rclone mount, "--vfs-write-back"
        # rclone mount, "--vfs-cache-mode"; docs/reference/file-systems.md, "fsync that promises less"
        durability="client",
        survives_client_crash=False,
        known=(
            "bad",
            "fsync ends in a private cache (vfs-cache): 20 of 20 acknowledged messages went down with it",
            "deliver elsewhere and let rclone copy it",
        ),
    ),
    "fuse.s3fs": Quirks(
        # s3fs(1), "no atomic renames"; MOUNTS=s3fs pytest tests/system/test_queue_race.py
        one_rename_wins=False,
        known=("note", "rename copies and deletes: it is not atomic", "one writer; no shared queue"),
    ),
    "fuse.smbnetfs": Quirks(
        # one attempt breaks the connection, and every call fails with EIO for three seconds:
        # docs/reference/file-systems.md, "smbnetfs"
        colon=False,
        one_rename_wins=False,  # MOUNTS=smbnetfs pytest tests/system/test_queue_race.py
        known=(
            "note",
            "of two mounts that rename one file both are told that they won, in about 1 of 100 races",
            "no shared queue; or mount SMB with the kernel's cifs",
        ),
    ),
    # all seen on Coda 8.1 with two servers and two clients: docs/reference/file-systems.md, "Coda"
    "coda": Quirks(
        one_rename_wins=False,  # a client may work disconnected: its changes conflict with the other's later
        durability="client",  # changes wait in the client's log for 15-20 s after fsync
        staging="new",  # a rename between two directories that are resolved separately ends in a conflict
        open_directories_stay_stale=True,  # "Active reference prevents refetching"
        known=(
            "note",
            "fsync promises nothing beyond this client; two clients may both win a rename",
            "receipts say 'client'; staging='new' avoids conflicts; queues: one host for each spool",
        ),
    ),
}
