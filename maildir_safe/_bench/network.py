"""Counts network calls on mounts whose calls the kernel counts: NFS and SMB."""

from __future__ import annotations

import re
from pathlib import Path

from maildir_safe._fs import Mount
from maildir_safe._fs.quirks import quirks
from maildir_safe._maildir.maildir import Maildir

_MESSAGES = 50


def calls_per_message(base: Path, mount: Mount, staging: str | None = None) -> float | None:
    """Over deliveries after a first one, which opens the directories; None where nobody counts."""
    if network_calls(mount) is None:
        return None
    maildir = Maildir(base / "calls", staging=staging)
    maildir.deliver(b"x\n")
    before = network_calls(mount) or 0
    for _ in range(_MESSAGES):
        maildir.deliver(b"x" * 4096)
    return ((network_calls(mount) or 0) - before) / _MESSAGES


def network_calls(mount: Mount) -> int | None:
    """Return the calls so far on this mount (SMB: on its share); None if they are not counted."""
    try:
        if quirks(mount.fstype).family == "smb":
            return smb_calls(Path("/proc/fs/cifs/Stats").read_text(), mount.source)
        return nfs_calls(Path("/proc/self/mountstats").read_text(), mount.point)
    except OSError:
        return None


def nfs_calls(text: str, point: str) -> int | None:
    """Return the sum of a mount point's operations in /proc/self/mountstats."""
    for block in text.split("\ndevice "):
        if f" mounted on {point} " in block and "per-op statistics" in block:
            rows = block.partition("per-op statistics")[2].splitlines()
            return sum(int(row.split()[1]) for row in rows if row.strip() and row.split()[1].isdecimal())
    return None


def smb_calls(text: str, share: str) -> int | None:
    r"""Return the sum for a share in /proc/fs/cifs/Stats, where ``//host/mail`` is ``1) \\host\mail``."""
    wanted, here, found = share.rstrip("/").replace("/", "\\").lower(), False, None
    for line in text.splitlines():
        title = re.match(r"\d+\) (\S+)", line)
        if title:
            here = title[1].lower() == wanted
        elif here and line.startswith("SMBs:"):
            found = (found or 0) + int(line.split()[1])
    return found
