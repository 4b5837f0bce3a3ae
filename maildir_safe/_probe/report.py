"""What a probe found: one `Check` a fact, the capabilities in short, and one verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OK, NOTE, BAD = "ok", "note", "bad"

SAFE = "SAFE"
SAFE_WITH_OPTIONS = "SAFE WITH OPTIONS"
UNSAFE_SHARED = "UNSAFE FOR SHARED QUEUES"
UNSAFE = "UNSAFE"


@dataclass(frozen=True, slots=True)
class Check:
    """One fact about a mount.

    Attributes:
        name: what was tried, in a few words.
        result: ``ok``; ``note`` (differs from a local disk, and is dealt with); ``bad``.
        evidence: what was seen.
        remedy: what an administrator can do about it; empty where nothing need be done.
        value: the fact for programs.
    """

    name: str
    result: str
    evidence: str
    remedy: str = ""
    value: Any = None


@dataclass(slots=True)
class ProbeReport:
    """All checks of a mount, or of two mounts of one export.

    Attributes:
        path, second: what was probed.
        fstype, source, options: from /proc/self/mountinfo.
        facts: the value of every check by its name.
        verdict: one of the four above.
        use: the options to use: keyword arguments of `Maildir` (separator, staging) and of `Queue`
            (shared, lease).
        hidden_for: seconds for which one of two mounts may not see what the other did; None: not tried.
        saved: the file in which the options are stored.
        reasons: why it is not simply SAFE.
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
        """From how soon the second mount saw a new name, and a name that it had found absent."""
        seen = [self.facts[name] for name in ("visibility", "negative cache") if name in self.facts]
        return max(seen, default=None)

    @property
    def facts(self) -> dict[str, Any]:
        """The value of every check by its name."""
        return {check.name: check.value for check in self.checks}

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
            "checks": [
                {name: getattr(check, name) for name in ("name", "result", "evidence", "remedy", "value")}
                for check in self.checks
            ],
        }
