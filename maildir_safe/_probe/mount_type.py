"""Known facts about a type of mount and its options that a probe cannot find out.

A probe cannot pull the plug. Where `maildir_safe._fs.quirks` says that a type or an option breaks a
promise although every call succeeds, the report names it, with the remedy.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from maildir_safe._fs import Mount
from maildir_safe._fs.quirks import quirks
from maildir_safe._probe.probe_directory import ProbeDirectory
from maildir_safe._probe.report import NOTE, OK, Check


def check_mount(mount: Mount) -> Iterator[Check]:
    """Report the known facts about the mount's type and options."""
    where = f"{mount.fstype or 'unknown'} from {mount.source or '?'} on {mount.point or '?'}"
    yield Check("mount", OK, where, value=mount.fstype)
    row = quirks(mount.fstype)
    if row.known is not None:
        result, evidence, remedy = row.known
        yield Check("known-type", result, evidence, remedy, mount.fstype)
    options = set(mount.options.split(","))
    for option, remedy in row.options.items():
        if option in options:
            yield Check(f"option-{option}", NOTE, f"mounted with {option}", remedy, option)
    if row.family == "nfs":
        yield from _nfs_caches(options)


def _nfs_caches(options: set[str]) -> Iterator[Check]:
    """Report how long this client trusts its caches; the kernel lists only non-default options."""
    if not options & {"lookupcache=pos", "lookupcache=none", "noac"}:
        text = "a name that was looked up too early stays absent for 30 s: lookupcache=positive"
        yield Check("option-lookupcache", NOTE, "absent names are remembered (the default)", text, "all")
    for option in sorted(options):
        name, _, seconds = option.partition("=")
        if name in ("actimeo", "acdirmax", "acregmax") and float(seconds) > 60:
            text = "changes of other hosts are seen later: lower it on shared queues"
            yield Check(f"option-{option}", NOTE, f"mounted with {option}", text, option)


def check_copies(room: ProbeDirectory) -> Iterator[Check]:
    """Report how many servers hold a GlusterFS file, from its client; nothing on other types."""
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
