"""Mount options that break a promise are named: as the kernel writes them in /proc/self/mountinfo."""

from __future__ import annotations

import pytest

from maildir_safe._fs import Mount
from maildir_safe._probe.mount_type import check_mount

_NFS = "rw,vers=4.2,rsize=262144,hard,proto=tcp,timeo=600,local_lock=none"


@pytest.mark.parametrize(
    ("fstype", "options", "named"),
    [
        ("nfs4", f"{_NFS},lookupcache=pos", set()),
        ("nfs4", _NFS, {"lookupcache"}),
        ("nfs", f"{_NFS},noac".replace("hard", "soft"), {"soft"}),
        ("nfs4", f"{_NFS},noac".replace("hard", "softerr"), {"softerr"}),
        ("nfs", f"{_NFS},noac,nolock", {"nolock"}),
        ("nfs", f"{_NFS},noac".replace("local_lock=none", "local_lock=all"), {"local_lock=all"}),
        ("nfs4", f"{_NFS},lookupcache=none,acdirmax=600", {"acdirmax=600"}),
        ("nfs4", f"{_NFS},lookupcache=pos,acregmax=60", set()),
        ("cifs", "rw,cache=loose,nobrl", {"cache=loose", "nobrl"}),
        ("cifs", "rw,cache=strict,actimeo=1", set()),
        ("ext4", "rw,nobarrier,data=writeback", {"nobarrier", "data=writeback"}),
        ("ext4", "rw,relatime", set()),
        ("fuse.sshfs", "rw,soft", set()),
    ],
)
def test_options_that_are_traps_are_named(fstype: str, options: str, named: set[str]) -> None:
    checks = [c for c in check_mount(Mount(fstype, "s:/m", options, "/m")) if c.id.startswith("option-")]
    assert {check.id.removeprefix("option-") for check in checks} == named
    assert all(check.result == "note" and check.remedy for check in checks)


@pytest.mark.parametrize(
    ("fstype", "result"),
    [("fuse.rclone", "bad"), ("coda", "note"), ("fuse.s3fs", "note"), ("exfat", "note"), ("xfs", None)],
)
def test_types_that_are_known_for_something_are_named(fstype: str, result: str | None) -> None:
    known = [c for c in check_mount(Mount(fstype, "", "rw", "/m")) if c.id == "known-type"]
    assert [check.result for check in known] == ([result] if result else [])
