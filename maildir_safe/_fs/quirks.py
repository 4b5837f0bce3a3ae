"""What each type of file system refuses, hides, shares, syncs and delays: the only table of its kind.

Everything that depends on a file system's type is a cell here, and the code asks `quirks`. A type that
is not in the table, and a cell that a row does not name, has the value in `Quirks`. What a probe has
measured on a mount (`maildir_safe._fs.stored_options`) counts more than what is known of its type.

The comment beside a cell is its source: a document that anybody can read, or the command of this
repository that shows it. Loaded by `deliver`, so that it is plain data.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Quirks:
    """One row of the table: what an ordinary local file system does, unless the row says otherwise.

    Attributes:
        family: mounts that have the same options and counters: ``"nfs"``, ``"smb"``; else ``""``.
        colon: whether a name with ``:`` may be tried. What refuses it cleanly needs no row.
        shared: whether of two hosts that rename one file exactly one wins.
        hidden_for: seconds that one host may not see what another did.
        durability: the best that an fsync can promise, as one of `receipt.DURABILITY_LEVELS`.
        keeps: False where every call succeeds and nothing outlives the mount's own process.
        syncfs: whether syncfs(2) makes all files durable, and reports what it could not write.
        interrupted: whether fsync may say EINTR, of itself or of a server that it waits for.
        early_writeout: whether a batch is faster when its pages are on their way before syncfs.
        old_names_return: whether a crash after the fsync of one directory brings back the name that a
            file had in another, so that the whole file system must be synced.
        staging: where messages are written: ``"tmp"``, or ``"new"`` under a dot name.
        held_directories_blind: whether a directory that any process of this host holds open is not
            fetched anew after another host changed it.
        known: for people: ``"bad"`` or ``"note"``, what is known, what to do about it.
        options: for people: mount options that break a promise, each with what to do about it.
    """

    family = ""
    colon = True
    shared = True
    hidden_for = 0.0
    durability = "full"
    keeps = True
    syncfs = False
    interrupted = True
    early_writeout = False
    old_names_return = False
    staging = "tmp"
    held_directories_blind = False
    known: tuple[str, str, str] | None = None
    options: dict[str, str] = {}

    def __init__(self, **cells: Any) -> None:
        self.__dict__ = cells


def quirks(fstype: str) -> Quirks:
    """The row of a type, as /proc/self/mountinfo names it; that of an ordinary one if it is not known."""
    return _TABLE.get(fstype, _ORDINARY)


_ORDINARY = Quirks()
# syncfs reports failed writes since Linux 5.8: syncfs(2). FUSE and network mounts do not pass it on.
# fsync of these waits for the disk, and only a signal that kills ends that: fsync(2) names no EINTR for them
_LOCAL = {"syncfs": True, "interrupted": False}
# nothing that was renamed is written in one step: mkfs.fat(8), exfat(5), ext2 has no journal
_NO_JOURNAL = {
    "known": (
        "note",
        "no journal: a crash may lose a rename",
        "for mail that matters, a journaling file system",
    )
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
    # fewer commits a batch: python -m benchmarks.deliver
    "ext4": Quirks(**_LOCAL, early_writeout=True, options=_EXT4_OPTIONS),
    "xfs": Quirks(**_LOCAL),
    "f2fs": Quirks(**_LOCAL),
    # after an fsync of the directory that a file was moved into, or of one that it was moved through and
    # removed from, a crash brings the earlier name back: tests/crash/test_disk_queue.py
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
    "fuse.glusterfs": Quirks(
        # Gluster's documentation, "network.ping-timeout": 42 s by default
        known=("note", "a server that is cut off stops writing for 42 s", "network.ping-timeout: some 10 s"),
    ),
    "fuse.rclone": Quirks(
        hidden_for=5.0,  # rclone mount, "--vfs-write-back"
        # rclone mount, "--vfs-cache-mode"; docs/reference/file-systems.md, "fsync that promises less"
        durability="client",
        keeps=False,
        known=(
            "bad",
            "fsync ends in a private cache (vfs-cache): 20 of 20 acknowledged messages went down with it",
            "deliver elsewhere and let rclone copy it",
        ),
    ),
    "fuse.s3fs": Quirks(
        shared=False,  # s3fs(1), "no atomic renames"; MOUNTS=s3fs pytest tests/system/test_queue_race.py
        known=("note", "rename copies and deletes: it is not atomic", "one writer; no shared queue"),
    ),
    "fuse.smbnetfs": Quirks(
        # one try loses its connection, and everything on it is EIO for three seconds:
        # docs/reference/file-systems.md, "smbnetfs"
        colon=False,
        shared=False,  # MOUNTS=smbnetfs pytest tests/system/test_queue_race.py
        known=(
            "note",
            "of two mounts that rename one file both are told that they won, in about 1 of 100 races",
            "no shared queue; or mount SMB with the kernel's cifs",
        ),
    ),
    # all of it seen on Coda 8.1 with two servers and two clients: docs/reference/file-systems.md, "Coda"
    "coda": Quirks(
        shared=False,  # a client may work disconnected: its changes meet the other's later, in conflict
        durability="client",  # they wait in the client's log for 15-20 s after fsync
        staging="new",  # a rename between two directories that servers resolve apart: conflict
        held_directories_blind=True,  # "Active reference prevents refetching"
        known=(
            "note",
            "fsync promises nothing beyond this client; two clients may both win a rename",
            "receipts say 'client'; staging='new' avoids conflicts; queues: one host for each spool",
        ),
    ),
}
