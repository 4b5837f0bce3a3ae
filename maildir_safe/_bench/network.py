"""Calls over the wire, where the kernel counts them: NFS and SMB."""

from __future__ import annotations

import re
from pathlib import Path

from maildir_safe._fs import Mount
from maildir_safe._fs.quirks import quirks
from maildir_safe._maildir.maildir import Maildir

_MESSAGES = 50


def calls_per_message(base: Path, mount: Mount) -> float | None:
    """Over deliveries after a first one, which opens the directories; None where nobody counts."""
    if network_calls(mount) is None:
        return None
    maildir = Maildir(base / "calls")
    maildir.deliver(b"x\n")
    before = network_calls(mount) or 0
    for _ in range(_MESSAGES):
        maildir.deliver(b"x" * 4096)
    return ((network_calls(mount) or 0) - before) / _MESSAGES


def network_calls(mount: Mount) -> int | None:
    """How many so far on this mount; of SMB on all mounts of the same share. None where nobody counts."""
    try:
        if quirks(mount.fstype).family == "smb":
            return smb_calls(Path("/proc/fs/cifs/Stats").read_text(), mount.source)
        return nfs_calls(Path("/proc/self/mountstats").read_text(), mount.point)
    except OSError:
        return None


def nfs_calls(text: str, point: str) -> int | None:
    """The sum of the operations that /proc/self/mountstats has of a mount point."""
    for block in text.split("\ndevice "):
        if f" mounted on {point} " in block and "per-op statistics" in block:
            rows = block.partition("per-op statistics")[2].splitlines()
            return sum(int(row.split()[1]) for row in rows if row.strip() and row.split()[1].isdecimal())
    return None


def smb_calls(text: str, share: str) -> int | None:
    r"""The sum that /proc/fs/cifs/Stats has of a share; ``//host/mail`` is ``1) \\host\mail`` there."""
    wanted, here, found = share.rstrip("/").replace("/", "\\").lower(), False, None
    for line in text.splitlines():
        title = re.match(r"\d+\) (\S+)", line)
        if title:
            here = title[1].lower() == wanted
        elif here and line.startswith("SMBs:"):
            found = (found or 0) + int(line.split()[1])
    return found
