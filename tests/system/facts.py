"""What was measured on each kind of mount, as `maildir_safe._probe.probe` names it; a test compares.

Only what both have stands here. A fact is named by its check's id, or by a short name of `_IDS`.
`link`: errno within a directory; `across`: between directories.
"""

from __future__ import annotations

from typing import Any

_S = 10**9
# true on every kind, unless it says otherwise
_EVERY = {"onto": "ok", "same O_EXCL": "EEXIST", "d_type": True, "file": "ok", "inode": True}
_LOCAL = {"link": "ok", "across": "ok", "noreplace": "ok", "colon": "ok", "longest": 255, "verdict": "SAFE"}
_CLUSTER = {"link": "ok", "noreplace": "EINVAL", "O_EXCL": False, "rename race": 0, "verdict": "SAFE"}
_NFS = {**_CLUSTER, "across": "ok", "colon": "ok", "longest": 255, "case": True}
_FOLDS = {"link": "EPERM", "case": False, "verdict": "SAFE WITH OPTIONS"}

FACTS: dict[str, dict[str, Any]] = {
    "ext4": {**_LOCAL, "fstype": "ext4", "mtime": 1},
    "xfs": {**_LOCAL, "fstype": "xfs", "mtime": 1},
    "btrfs": {**_LOCAL, "fstype": "btrfs", "mtime": 1},
    "ext4-journal": {**_LOCAL, "fstype": "ext4", "mtime": 1},
    "ext3": {**_LOCAL, "fstype": "ext3", "mtime": 1},
    "ext2": {**_LOCAL, "fstype": "ext2", "mtime": 1},
    "reiserfs": {**_LOCAL, "fstype": "reiserfs", "mtime": _S, "d_type": False},
    "jfs": {**_LOCAL, "fstype": "jfs", "d_type": False, "verdict": "UNSAFE"},
    "f2fs": {**_LOCAL, "fstype": "f2fs"},
    "tmpfs": {**_LOCAL, "fstype": "tmpfs", "mtime": 1},
    "overlay": {**_LOCAL, "fstype": "overlay", "mtime": 1},
    "gluster": {**_CLUSTER, "fstype": "fuse.glusterfs", "copies": 1},
    "gluster-replica2": {**_CLUSTER, "fstype": "fuse.glusterfs", "copies": 2},
    "gluster-arbiter": {**_CLUSTER, "fstype": "fuse.glusterfs", "copies": 3},
    "moosefs": {**_CLUSTER, "fstype": "fuse", "mtime": _S},
    "cephfs": {**_CLUSTER, "fstype": "fuse.ceph-fuse"},
    "sshfs": {**_CLUSTER, "fstype": "fuse.sshfs", "mtime": _S},
    "sshfs-nolink": {**_CLUSTER, "fstype": "fuse.sshfs", "mtime": _S, "link": "EPERM"},
    "davfs2": {
        **_CLUSTER,
        "fstype": "fuse",
        "link": "EPERM",
        "mtime": _S,
        "O_EXCL": True,
    },  # longest: 240 to 254
    "rclone-webdav": {
        "fstype": "fuse.rclone",
        "link": "EIO",
        "mtime": _S,
        "O_EXCL": True,
        "inode": False,
        "rename race": 0,
        "verdict": "UNSAFE",
    },
    "s3fs": {
        "fstype": "fuse.s3fs",
        "link": "ENOTSUP",
        "mtime": _S,
        "O_EXCL": True,
        "verdict": "UNSAFE FOR SHARED QUEUES",
    },
    # one winner in each of 200 races on another day; here both were told so in 3, the file being there once
    "smbnetfs": {
        **_FOLDS,
        "fstype": "fuse.smbnetfs",
        "colon": "EIO",
        "O_EXCL": True,
        "verdict": "UNSAFE FOR SHARED QUEUES",
    },
    "exfat": {**_FOLDS, "fstype": "fuseblk", "colon": "ENOENT", "mtime": _S},
    # a renamed directory is empty afterwards: docs/reference/file-systems.md, "fusefat"
    "fusefat": {**_FOLDS, "fstype": "fuse.fusefat", "colon": "EPERM", "verdict": "UNSAFE"},
    "nfs3": {**_NFS, "fstype": "nfs", "mode": "0600", "directory": "ok"},
    "nfs42": {**_NFS, "fstype": "nfs4", "mode": "0600", "directory": "ok"},
    "cifs": {
        **_NFS,
        "fstype": "cifs",
        "noreplace": "ok",
        "case": False,
        "utf8": "ENOENT",
        "mode": "0755",
        "directory": "ok",
    },
    # elsewhere mtimes had steps of 1 s on 9p and of 100 ns on SMB; here they are those of the server's disk
    "9p": {**_NFS, "fstype": "9p", "mode": "0600", "directory": "ok"},
    "afs": {
        "fstype": "afs",
        "d_type": False,  # docs/reference/file-systems.md, "Listings"
        "link": "ok",
        "across": "EREMOTEIO",
        "noreplace": "EINVAL",
        "directory": "EINVAL",
        "colon": "ok",
        "longest": 255,
        "case": True,
        "mtime": _S,
        "mode": "0600",
        "verdict": "SAFE",
    },
    "vfat": {
        **_FOLDS,
        "fstype": "vfat",
        "noreplace": "ok",
        "directory": "ok",
        "colon": "EINVAL",
        "utf8": "EINVAL",
        "mtime": _S,
        "mode": "0755",
    },
    "encfs-paranoia": {"fstype": "fuse.encfs", "link": "EPERM", "longest": 175, "verdict": "SAFE"},
    "mergerfs": {"fstype": "fuse.mergerfs", "colon": "ok", "longest": 255, "mtime": 1, "verdict": "SAFE"},
    "mergerfs-split": {"fstype": "fuse.mergerfs", "colon": "ok", "longest": 255, "mtime": 1},
    "gocryptfs": {"fstype": "fuse.gocryptfs", "link": "ok", "noreplace": "ok", "verdict": "SAFE"},
}

# short names of checks; any other fact is named by its check's id
_IDS = {
    "onto": "rename-onto",
    "same O_EXCL": "exclusive-create",
    "d_type": "d-type",
    "file": "fsync-file",
    "link": "link-within",
    "across": "link-across",
    "noreplace": "rename-noreplace",
    "colon": "name-colon",
    "longest": "name-length",
    "copies": "copies",
    "mtime": "mtime-precision",
    "case": "name-case",
    "inode": "inode",
    "directory": "fsync-directory",
    "utf8": "name-not-utf8",
    "mode": "mode",
}


def differences(kind: str, report: dict[str, Any]) -> list[str]:
    """Where a probe's report (as JSON has it) and the facts disagree, in words."""
    seen = {check["id"]: check["value"] for check in report["checks"]}
    wrong = []
    for fact, expected in (_EVERY | FACTS[kind]).items():
        if fact in ("fstype", "verdict"):
            value = report[fact]
        elif fact == "O_EXCL":
            value = seen["exclusive-race"] > 0
        elif fact == "rename race":
            value = seen["rename-race"]["both"] + seen["rename-race"]["not once"]
        else:
            value = seen[_IDS.get(fact, fact)]
        if value != expected:
            wrong.append(f"{fact}: measured {expected!r}, the probe says {value!r}")
    return wrong
