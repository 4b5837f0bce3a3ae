"""Probes a mount: collects facts and derives one verdict, whether it is safe for mail.

All checks run in a separate folder, which is removed afterwards. The report states what software cannot
find out, such as whether a disk keeps acknowledged data when the power fails; it does not guess.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil

from maildir_safe._fs import FileSystem
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._fs.quirks import quirks
from maildir_safe._probe.calls import check_exclusive, check_fsync, check_renames
from maildir_safe._probe.mount_type import check_copies, check_mount
from maildir_safe._probe.names import check_names, check_stat
from maildir_safe._probe.probe_directory import ProbeDirectory
from maildir_safe._probe.report import (
    BAD,
    LABELS,
    NOTE,
    SAFE,
    SAFE_WITH_OPTIONS,
    UNSAFE,
    UNSAFE_SHARED,
    Check,
    ProbeReport,
)
from maildir_safe._probe.space import check_space
from maildir_safe._queue.store.mount_rules import default_lease

__all__ = ["Check", "ProbeReport", "probe"]


def probe(
    path: str,
    second: str | None = None,
    keep: bool = False,
    token: str | None = None,
    progress: Callable[[str], None] = lambda words: None,  # noqa: ARG005
) -> ProbeReport:
    """Probe a mount.

    Args:
        path: a directory on the mount; a folder is made there and removed.
        second: the same directory through a second mount of the same export, as another host sees it.
        keep: leave the folder in place for inspection.
        token: a word given to the same command on another host at the same time; the two hosts share
            only the mount. The checks of `second` are then made with that host.
        progress: called with a description of the next check.

    Raises:
        OSError: the directory cannot be used at all.
        ValueError: a token that is not letters and digits.
    """
    if token is not None and not token.isalnum():
        raise ValueError(f"a token is letters and digits, not {token!r}")
    fs = OsFileSystem()
    report = ProbeReport(path, second)
    try:
        room = ProbeDirectory(fs, path, f"maildir-safe-probe-{fs.random(4).hex()}")
    except OSError as error:  # report the directory given, and not our folder in it
        raise OSError(error.errno, f"a folder cannot be made there: {error.strerror}", path) from error
    try:
        _one(fs, room, path, report, progress)
        if second is not None:
            _two(fs, room, second, report, progress)
        if token is not None:
            _hosts(fs, path, token, report, progress)
    finally:
        if keep:
            room.leave()
        else:
            room.remove()
    _doubt_the_client(report)
    _judge(report)
    return report


def _one(
    fs: FileSystem, room: ProbeDirectory, path: str, report: ProbeReport, progress: Callable[[str], None]
) -> None:
    mount = fs.mount(room.root)
    report.fstype, report.source, report.options = mount.fstype, mount.source, mount.options
    report.checks += check_mount(mount)
    for group, checks in (
        ("copies", lambda: check_copies(room)),
        ("renames", lambda: check_renames(room)),
        ("exclusive", lambda: [check_exclusive(room)]),
        ("fsync", lambda: check_fsync(room)),
        ("names", lambda: check_names(room)),
        ("stat", lambda: check_stat(room)),
        ("space", lambda: check_space(room, path)),
    ):
        untried = f"{group}-untried"
        progress(LABELS[untried])
        try:
            report.checks += checks()
        except OSError as error:  # a check's preparation failed: that is a fact too
            report.checks.append(Check(untried, BAD, f"could not be tried: {error}", "see the mount's log"))
        room.errno(room.empty)


def _two(
    fs: FileSystem, room: ProbeDirectory, second: str, report: ProbeReport, progress: Callable[[str], None]
) -> None:
    from maildir_safe._probe.two_mounts import check_pair, enter

    try:
        other = enter(fs, second, room.name)
        report.checks += check_pair(room, other, progress)
        other.leave()
    except OSError as error:
        text = f"could not be tried: {error}"
        report.checks.append(Check("second-mount", BAD, text, "is it the same export?"))


def _hosts(
    fs: FileSystem, path: str, token: str, report: ProbeReport, progress: Callable[[str], None]
) -> None:
    from maildir_safe._probe.two_hosts import HostRendezvous, check_hosts

    progress(f"waiting for the other host (token {token})")
    try:
        meeting = HostRendezvous(fs, path, token)
        report.checks += check_hosts(meeting, progress)
        meeting.leave()
    except OSError as error:
        report.checks.append(
            Check("other-host", BAD, f"could not be tried: {error}", "a new token, both hosts")
        )


_SLACK = 3.0
"""Seconds that a busy machine may add to a measured delay: a cache of 20 s was measured as over 21 s."""

_BY_THE_SERVER = {"mtime-precision", "inode", "mode", "fsync-file", "fsync-directory"}
"""The checks whose result, on a client that works on its own cache, describes only that client."""


def _doubt_the_client(report: ProbeReport) -> None:
    """Note in the report that a client answers from its own cache: the server may store something else."""
    if quirks(report.fstype).durability != "client":
        return
    for at, check in enumerate(report.checks):
        if check.id in _BY_THE_SERVER:
            evidence = f"{check.evidence}; so this client says, and its server may keep something else"
            report.checks[at] = replace(check, evidence=evidence)


def _judge(report: ProbeReport) -> None:
    """Derive one verdict and the options to use from all facts."""
    facts, row = report.facts, quirks(report.fstype)
    if facts.get("name-colon", "ok") != "ok":
        report.use["separator"] = ";"
    if facts.get("rename-across") == "EXDEV" or row.staging == "new":
        report.use["staging"] = "new"
    race = next((check for check in report.checks if check.id == "rename-race"), None)
    if not row.one_rename_wins or (race is not None and race.result == BAD):
        report.use["shared"] = False
    hidden = report.hidden_for
    if hidden is not None and 3 * (hidden - _SLACK) > default_lease(report.fstype, None):
        report.use["lease"] = ceil(3 * hidden)
    bad = [check for check in report.checks if check.result == BAD and check.id != "rename-race"]
    report.reasons = [f"{check.label}: {check.evidence}" for check in report.checks if check.result == BAD]
    report.reasons += [
        f"{check.label}: {check.evidence}" for check in report.checks if check.result == NOTE and check.remedy
    ]
    if bad or not row.survives_client_crash:
        report.verdict = UNSAFE
    elif "shared" in report.use:
        report.verdict = UNSAFE_SHARED
    else:
        report.verdict = SAFE_WITH_OPTIONS if report.use else SAFE
