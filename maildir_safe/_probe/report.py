"""The report of a probe: one `Check` per fact, the options to use, and one verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OK, NOTE, BAD = "ok", "note", "bad"

SAFE = "SAFE"
SAFE_WITH_OPTIONS = "SAFE WITH OPTIONS"
UNSAFE_SHARED = "UNSAFE FOR SHARED QUEUES"
UNSAFE = "UNSAFE"

_IN_JSON = ("id", "label", "result", "evidence", "remedy", "value")

LABELS = {
    "rename-across": "rename across directories",
    "rename-within": "rename within a directory",
    "rename-onto": "rename onto a file",
    "rename-noreplace": "RENAME_NOREPLACE",
    "rename-directory": "rename of a directory",
    "link-within": "link within a directory",
    "link-across": "link across directories",
    "exclusive-create": "O_EXCL on this mount",
    "fsync-file": "fsync of a file",
    "fsync-directory": "fsync of a directory",
    "fsync-file-cost": "cost of fsync",
    "fsync-directory-cost": "cost of fsync of a directory",
    "mount": "mount",
    "known-type": "known of this type",
    "option-lookupcache": "option lookupcache",
    "copies": "copies of a file",
    "name-colon": "':' in a name",
    "name-semicolon": "';' in a name",
    "name-size-field": "',S=' in a name",
    "name-length": "longest name",
    "name-case": "upper and lower case",
    "name-not-utf8": "name that is not UTF-8",
    "name-unicode": "Unicode in a name",
    "server-clock": "clock of the server",
    "inode": "inode number",
    "mode": "mode of a new file",
    "mtime-precision": "precision of mtime",
    "unlink-open": "unlink while open",
    "free-space": "free space",
    "free-inodes": "free inodes",
    "quota": "quota of this user",
    "listing": "listing",
    "d-type": "d_type",
    "visibility": "visibility",
    "negative-cache": "negative cache",
    "exclusive-race": "O_EXCL race",
    "rename-race": "rename race",
    "removed-while-read": "removed by the other while read",
    # a group of checks, only where it could not be tried at all, or not to its end
    "copies-untried": "copies",
    "renames-untried": "rename and link",
    "exclusive-untried": "O_EXCL",
    "fsync-untried": "fsync",
    "names-untried": "names",
    "stat-untried": "what stat tells",
    "space-untried": "space",
    "second-mount": "second mount",
    "other-host": "other host",
}
"""The label of each check, for people. Programs use the ids: a label may be reworded, an id may not.

A mount option's id is ``option-`` and the option. docs/reference/probe-checks.md lists all ids.
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One fact about a mount.

    Attributes:
        id: identifies the check for programs; it never changes.
        result: ``ok``; ``note`` (differs from a local disk, and is handled); ``bad``.
        evidence: the observation.
        remedy: what an administrator can do; empty if nothing need be done.
        value: the fact in a form for programs.
    """

    id: str
    result: str
    evidence: str
    remedy: str = ""
    value: Any = None

    @property
    def label(self) -> str:
        """The name of the check for people, in a few words."""
        return LABELS.get(self.id) or self.id.replace("-", " ", 1)


@dataclass(slots=True)
class ProbeReport:
    """All checks of a mount, or of two mounts of one export.

    Attributes:
        path, second: what was probed.
        fstype, source, options: from /proc/self/mountinfo.
        facts: the value of every check by its id.
        verdict: one of the four above.
        use: the options to use: keyword arguments of `Maildir` (separator, staging) and of `Queue`
            (shared, lease).
        hidden_for: seconds for which one of two mounts may not see the other's changes; None: not measured.
        saved: the file in which the options are stored.
        reasons: why the verdict is not simply SAFE.
    """

    path: str
    second: str | None = None
    fstype: str = ""
    source: str = ""
    options: str = ""
    checks: list[Check] = field(default_factory=list)
    verdict: str = UNSAFE
    use: dict[str, Any] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    saved: str | None = None

    @property
    def hidden_for(self) -> float | None:
        """The longer of two delays: until the second mount saw a new name, and one it had found absent."""
        seen = [self.facts[name] for name in ("visibility", "negative-cache") if name in self.facts]
        return max(seen, default=None)

    @property
    def facts(self) -> dict[str, Any]:
        """The value of every check by its id."""
        return {check.id: check.value for check in self.checks}

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON."""
        return {
            "path": self.path,
            "second": self.second,
            "fstype": self.fstype,
            "source": self.source,
            "options": self.options,
            "verdict": self.verdict,
            "use": self.use,
            "hidden_for": self.hidden_for,
            "saved": self.saved,
            "reasons": self.reasons,
            "checks": [{name: getattr(check, name) for name in _IN_JSON} for check in self.checks],
        }
