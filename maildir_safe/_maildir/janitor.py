"""The janitor: removes what interrupted deliveries have left, and nothing else.

Age is measured by the server's clock: the modification time of a new file is compared with that of the
file in question. The access time is not used, since mounts with `noatime` do not keep it and backups
change it. This host's clock is not used either, since it may be hours off.
"""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from maildir_safe._handoff.rename import WITHDRAWN
from maildir_safe._handoff.seals import without_seals
from maildir_safe._handoff.small_files import server_time, server_time_to_look
from maildir_safe._maildir.unfinished import unfinished
from maildir_safe._names import is_unique
from maildir_safe.errors import storage_error

if TYPE_CHECKING:
    from typing import Any

    from maildir_safe._fs import FileSystem
    from maildir_safe._maildir.directories import OpenDirectories


# another janitor or the late writer was faster; a directory that is not empty is not a seal
_NOT_OURS = {errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST}


class CleanReport:
    """The result of one run of the janitor.

    Attributes:
        removed: paths relative to the Maildir that were removed (or would be, in a dry run).
        kept: the number of files that were too young.
        failed: paths that could not be removed, each with the reason.
        bytes: the total size of the removed files.
    """

    def __init__(self) -> None:
        self.removed: list[str] = []
        self.failed: list[tuple[str, str]] = []
        self.kept = 0
        self.bytes = 0

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON."""
        return dict(vars(self))


def clean(fs: FileSystem, path: str, dirs: OpenDirectories, max_age: float, dry_run: bool) -> CleanReport:
    """Remove abandoned files.

    Args:
        max_age: seconds since the last write, by the server's clock.
        dry_run: report what would be removed, and remove nothing.

    Raises:
        TemporaryError: a directory cannot be listed, or the server's clock cannot be read.
    """
    report = CleanReport()
    try:
        now = (server_time_to_look if dry_run else server_time)(fs, dirs.tmp)
        abandoned = [("tmp", dirs.tmp, name) for name in fs.listdir(dirs.tmp)]
        for subdir in ("new", "cur"):  # drafts of staging="new"
            fd = dirs.fd(subdir)
            names = fs.listdir(fd)
            abandoned += [(subdir, fd, name) for name in names if _is_draft(name)]
            without_seals(fs, fd, [] if dry_run else [name for name in names if is_unique(name)])
    except OSError as error:
        raise storage_error(f"clean {path}", error) from error
    for subdir, fd, name in abandoned:
        _consider(fs, report, fd, f"{subdir}/{name}", now - max_age, dry_run)
    for aside in unfinished(fs, path, dirs.root, now - max_age, remove=not dry_run):
        report.removed.append(aside)
    return report


def _consider(fs: FileSystem, report: CleanReport, fd: int, where: str, before: float, dry_run: bool) -> None:
    name = where.partition("/")[2]
    try:
        status = fs.stat(name, fd)
        sealed = stat.S_ISDIR(status.st_mode) and is_unique(name.lstrip("."))  # see `late_calls.seal`
        if not (sealed or stat.S_ISREG(status.st_mode)):
            return
        if status.st_mtime >= before:
            report.kept += 1
            return
        if not dry_run:
            fs.rmdir(name, fd) if sealed else fs.unlink(name, dir_fd=fd)
        report.removed.append(where)
        report.bytes += 0 if sealed else status.st_size
    except OSError as error:
        if error.errno not in _NOT_OURS:
            report.failed.append((where, str(storage_error("remove", error))))


def _is_draft(name: str) -> bool:
    return name.startswith(WITHDRAWN) or (name.startswith(".") and is_unique(name[1:]))
