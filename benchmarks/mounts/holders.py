"""Who keeps a file system busy: what stands in the way of taking a mount down, by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def holders(loops: list[str]) -> dict[int, str]:
    """The processes that hold on to the file systems on loop devices: by pid, who and how.

    A mount that was detached has no path any more, so open files are told by their device; and a
    process in a mount namespace of its own may have a copy of the mount that is not in our table.
    (The files of btrfs have devices of their own, and are not found.)

    Args:
        loops: names of loop devices, such as ``/dev/loop1``.
    """
    devices = {os.stat(loop).st_rdev for loop in loops if os.path.exists(loop)}
    found = {}
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        ways = set(_ways(process, loops, devices))
        if ways:
            found[int(process.name)] = f"{process.name} {_command(process)}: {', '.join(sorted(ways))}"
    return found


def _ways(process: Path, loops: list[str], devices: set[int]) -> Iterator[str]:
    try:
        links = [process / "cwd", process / "root", *(process / "fd").iterdir()]
    except OSError:
        return  # it has ended
    for link in links:
        try:
            if link.stat().st_dev in devices:
                yield f"{link.relative_to(process)} {os.readlink(link)}"
        except OSError:
            continue
    try:
        table = (process / "mountinfo").read_text(errors="surrogateescape").splitlines()
        ours = os.readlink("/proc/self/ns/mnt") == os.readlink(process / "ns/mnt")
    except OSError:
        return  # it has ended, or may not be looked at
    if not ours and any(loop in line.split() for line in table for loop in loops):
        yield "a mount namespace with a copy of the mount"


def _command(process: Path) -> str:
    try:
        words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "(gone)"
    return f"[{state}] {words[:120]}"
