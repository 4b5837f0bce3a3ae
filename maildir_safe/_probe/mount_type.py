"""What is known of a kind of mount, beyond what software can find out (FACTS.md section 1).

A probe cannot pull the plug. Where experience says that a mount type or option breaks a promise
although every call succeeds, it is named here, with the remedy.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from maildir_safe._fs import Mount
from maildir_safe._probe.probe_directory import ProbeDirectory
from maildir_safe._probe.report import BAD, NOTE, OK, Check

_OPTIONS = {
    "nfs": {
        **dict.fromkeys(
            ("soft", "softerr"), "a request given up here may be executed later: mount with 'hard'"
        ),
        **dict.fromkeys(
            ("nolock", "local_lock=all"),
            "fcntl locks do not reach other hosts: maildir_safe needs none, other programs may",
        ),
        "async": "the export, not the mount, decides: see exports(5), 'sync'",
    },
    "cifs": {
        "cache=loose": "other hosts' writes may stay unseen: cache=strict",
        "nobrl": "locks do not reach other hosts: maildir_safe needs none, other programs may",
    },
    "ext4": {
        "nobarrier": "a power failure may lose acknowledged mail: mount with 'barrier'",
        "data=writeback": "after a crash files may hold old blocks, unless fsynced: messages are",
    },
}
_NO_JOURNAL = (
    NOTE,
    "no journal: a crash may lose a rename",
    "for mail that matters, a journaling file system",
)
_TYPES = {
    "fuse.rclone": (
        BAD,
        "fsync ends in a private cache (vfs-cache): 20 of 20 acknowledged messages went down with it",
        "deliver elsewhere and let rclone copy it",
    ),
    "coda": (
        NOTE,
        "fsync promises nothing beyond this client; two clients may both win a rename",
        "receipts say 'client'; staging='new' avoids conflicts; queues: one host for each spool",
    ),
    "fuse.s3fs": (NOTE, "rename copies and deletes: it is not atomic", "one writer; no shared queue"),
    "fuse.smbnetfs": (
        NOTE,
        "of two mounts that rename one file both are told that they won, in about 1 of 100 races",
        "no shared queue; or mount SMB with the kernel's cifs",
    ),
    "ext2": _NO_JOURNAL,
    "vfat": _NO_JOURNAL,
    "exfat": _NO_JOURNAL,
    "fuseblk": _NO_JOURNAL,
    "fuse.fusefat": _NO_JOURNAL,
    "tmpfs": (NOTE, "in memory: a crash loses all", "only for tests and spools that may be lost"),
    "fuse.glusterfs": (
        NOTE,
        "a server that is cut off stops writing for 42 s",
        "network.ping-timeout: some 10 s",
    ),
}


def check_mount(mount: Mount) -> Iterator[Check]:
    """What the mount's type and options are known for."""
    where = f"{mount.fstype or 'unknown'} from {mount.source or '?'} on {mount.point or '?'}"
    yield Check("mount", OK, where, value=mount.fstype)
    if mount.fstype in _TYPES:
        result, evidence, remedy = _TYPES[mount.fstype]
        yield Check("known-type", result, evidence, remedy, mount.fstype)
    options = set(mount.options.split(","))
    family = "nfs" if mount.fstype.startswith("nfs") else mount.fstype
    for option, remedy in _OPTIONS.get(family, {}).items():
        if option in options:
            yield Check(f"option-{option}", NOTE, f"mounted with {option}", remedy, option)
    if family == "nfs":
        yield from _nfs_caches(options)


def _nfs_caches(options: set[str]) -> Iterator[Check]:
    """How long this client may believe what it knows; the kernel names only what is not the default."""
    if not options & {"lookupcache=pos", "lookupcache=none", "noac"}:
        text = "a name that was looked up too early stays absent for 30 s: lookupcache=positive"
        yield Check("option-lookupcache", NOTE, "absent names are remembered (the default)", text, "all")
    for option in sorted(options):
        name, _, seconds = option.partition("=")
        if name in ("actimeo", "acdirmax", "acregmax") and float(seconds) > 60:
            text = "changes of other hosts are seen later: lower it on shared queues"
            yield Check(f"option-{option}", NOTE, f"mounted with {option}", text, option)


def check_copies(room: ProbeDirectory) -> Iterator[Check]:
    """How many servers hold a GlusterFS file, which its client tells; nothing elsewhere."""
    name = room.put(room.a)
    try:
        where = os.getxattr(f"/proc/self/fd/{room.a}/{name}", "glusterfs.pathinfo")
    except OSError:
        return
    copies = where.count(b"<POSIX(")
    split = copies == 2 and b"<REPLICATE:" in where
    text = (
        f"{copies}{': two servers that lose each other may disagree, and mail is then read as empty' * split}"
    )
    remedy = "use an arbiter or replica 3" if split else ""
    yield Check("copies", NOTE if split else OK, text, remedy, copies)
