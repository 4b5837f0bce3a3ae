"""What FACTS.md section 1 measured, as `maildir_safe.probe` names it; a test compares.

Only what both have stands here. `link`: errno within a directory; `across`: between directories.
"""

from __future__ import annotations

from typing import Any

_LOCAL = {"link": "ok", "across": "ok", "noreplace": "ok", "colon": "ok", "longest": 255, "verdict": "SAFE"}
_SHARED_SAFE = {"rename race": 0, "verdict": "SAFE"}

FACTS: dict[str, dict[str, Any]] = {
    "ext4": {**_LOCAL, "fstype": "ext4", "mtime": 1},
    "xfs": {**_LOCAL, "fstype": "xfs", "mtime": 1},
    "btrfs": {**_LOCAL, "fstype": "btrfs", "mtime": 1},
    "tmpfs": {**_LOCAL, "fstype": "tmpfs", "mtime": 1},
    "overlay": {**_LOCAL, "fstype": "overlay", "mtime": 1},
    "gluster": {"fstype": "fuse.glusterfs", "link": "ok", "noreplace": "EINVAL", "O_EXCL": False, **_SHARED_SAFE},
    "moosefs": {"fstype": "fuse", "link": "ok", "noreplace": "EINVAL", "mtime": 10**9, "O_EXCL": False, **_SHARED_SAFE},
    "cephfs": {"fstype": "fuse.ceph-fuse", "link": "ok", "noreplace": "EINVAL", "O_EXCL": False, **_SHARED_SAFE},
    "sshfs": {
        "fstype": "fuse.sshfs", "link": "ok", "noreplace": "EINVAL", "mtime": 10**9, "O_EXCL": False, **_SHARED_SAFE,
    },
    "sshfs-nolink": {"fstype": "fuse.sshfs", "link": "EPERM", "mtime": 10**9, "O_EXCL": False, **_SHARED_SAFE},
    "rclone-webdav": {
        "fstype": "fuse.rclone", "link": "EIO", "mtime": 10**9, "O_EXCL": True, "inode": False, "verdict": "UNSAFE",
        "rename race": 0,
    },
    "davfs2": {"fstype": "fuse", "link": "EPERM", "mtime": 10**9, "longest": 240, "O_EXCL": True, **_SHARED_SAFE},
    "s3fs": {
        "fstype": "fuse.s3fs", "link": "EOPNOTSUPP", "mtime": 10**9, "O_EXCL": True,
        "verdict": "UNSAFE FOR SHARED QUEUES",
    },
    "smbnetfs": {
        "fstype": "fuse.smbnetfs", "link": "EPERM", "mtime": 100, "colon": "EIO", "case": False, "O_EXCL": True,
        "rename race": 0, "verdict": "SAFE WITH OPTIONS",
    },
    "exfat": {
        "fstype": "fuseblk", "link": "EPERM", "colon": "ENOENT", "case": False, "mtime": 10**9,
        "verdict": "SAFE WITH OPTIONS",
    },
    "fusefat": {
        "fstype": "fuse.fusefat", "link": "EPERM", "colon": "EPERM", "case": False, "verdict": "SAFE WITH OPTIONS",
    },
    "encfs-paranoia": {"fstype": "fuse.encfs", "link": "EPERM", "longest": 175, "verdict": "SAFE"},
    "gocryptfs": {"fstype": "fuse.gocryptfs", "link": "ok", "noreplace": "ok", "verdict": "SAFE"},
    "securefs": {"fstype": "fuse.securefs", "link": "ok", "longest": 143, "verdict": "SAFE"},
}  # fmt: skip

_NAMES = {
    "link": "link within a directory",
    "across": "link across directories",
    "noreplace": "RENAME_NOREPLACE",
    "colon": "':' in a name",
    "longest": "longest name",
    "mtime": "precision of mtime",
    "case": "upper and lower case",
    "inode": "inode number",
}


def differences(kind: str, report: dict[str, Any]) -> list[str]:
    """Where a probe's report (as JSON has it) and the facts disagree, in words."""
    seen = {check["name"]: check["value"] for check in report["checks"]}
    wrong = []
    for fact, expected in FACTS[kind].items():
        if fact in ("fstype", "verdict"):
            value = report[fact]
        elif fact == "O_EXCL":
            value = seen["O_EXCL race"] > 0
        elif fact == "rename race":
            value = seen["rename race"]["both"] + seen["rename race"]["not once"]
        else:
            value = seen[_NAMES[fact]]
        if value != expected:
            wrong.append(f"{fact}: measured {expected!r}, the probe says {value!r}")
    return wrong
