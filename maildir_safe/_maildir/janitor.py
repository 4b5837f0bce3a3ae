"""The janitor: removes what interrupted deliveries left in tmp/, half-made Maildirs, and nothing else.

Age is told by the server's clock: the modification time of a file made there just now, against
that of the file in question. Never by the access time, which mounts with `noatime` do not keep
and backups renew, and never by this host's clock, which may be hours off.
"""

from __future__ import annotations

import errno
import os.path
import stat

from maildir_safe._handoff.rename import WITHDRAWN, close_quietly
from maildir_safe._handoff.small_files import server_time
from maildir_safe._maildir.directories import SUBDIRS, aside_name, discard, is_aside
from maildir_safe._names import FOLDER_MARK, is_unique
from maildir_safe.errors import storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from maildir_safe._fs import FileSystem
    from maildir_safe._maildir.directories import OpenDirectories


class CleanReport:
    """What the janitor did.

    Attributes:
        removed: what was removed (or would be, in a dry run), as paths from the Maildir.
        kept: how many files in tmp/ were too young.
        failed: paths that could not be removed, each with the reason.
        bytes: how much the removed files held.
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
        dry_run: only report.

    Raises:
        TemporaryError: tmp/ cannot be listed, or the server's clock not be read.
    """
    report = CleanReport()
    try:
        now = server_time(fs, dirs.tmp)
        abandoned = [("tmp", dirs.tmp, name) for name in fs.listdir(dirs.tmp)]
        for subdir in ("new", "cur"):  # drafts of staging="new"
            fd = dirs.fd(subdir)
            abandoned += [(subdir, fd, name) for name in fs.listdir(fd) if _is_draft(name)]
    except OSError as error:
        raise storage_error(f"clean {path}", error) from error
    for subdir, fd, name in abandoned:
        _consider(fs, report, fd, f"{subdir}/{name}", now - max_age, dry_run)
    _half_made(fs, report, path, dirs.root, now - max_age, dry_run)
    return report


def _half_made(
    fs: FileSystem, report: CleanReport, path: str, root: int, before: float, dry_run: bool
) -> None:
    """Folders, and this Maildir itself, whose making was interrupted: under a dot name, without a message."""
    above, name = os.path.split(path)
    try:
        for entry in fs.listdir(root):
            if is_aside(entry, entry[1:].rpartition(".")[0]) and entry.startswith(".."):
                _remove_half_made(fs, report, root, entry, entry, before, dry_run)
        fd = fs.open_dir(above)
    except OSError:
        return  # the directory above may be forbidden; then nothing was made there
    try:
        for entry in fs.listdir(fd):
            if is_aside(entry, name):
                _remove_half_made(fs, report, fd, entry, f"../{entry}", before, dry_run)
    except OSError:
        pass
    finally:
        close_quietly(fs, fd)


def _remove_half_made(
    fs: FileSystem, report: CleanReport, above: int, entry: str, where: str, before: float, dry_run: bool
) -> None:
    try:
        status = fs.stat(entry, above)
        if not stat.S_ISDIR(status.st_mode) or status.st_mtime >= before:
            return
        if not dry_run:
            # under another name first: whoever was making it cannot put it in place any more
            gone = aside_name(fs, entry[1:].rpartition(".")[0])
            fs.rename(entry, gone, src_dir_fd=above, dst_dir_fd=above)
            root = fs.open_dir(gone, above)
            discard(fs, root, above, gone, SUBDIRS, (FOLDER_MARK,))
            close_quietly(fs, root)
        report.removed.append(where)
    except OSError as error:
        if error.errno != errno.ENOENT:
            report.failed.append((where, str(storage_error("remove", error))))


def _consider(fs: FileSystem, report: CleanReport, fd: int, where: str, before: float, dry_run: bool) -> None:
    name = where.partition("/")[2]
    try:
        status = fs.stat(name, fd)
        if not stat.S_ISREG(status.st_mode):
            return
        if status.st_mtime >= before:
            report.kept += 1
            return
        if not dry_run:
            fs.unlink(name, dir_fd=fd)
        report.removed.append(where)
        report.bytes += status.st_size
    except OSError as error:
        if error.errno != errno.ENOENT:  # another janitor, or its writer after all
            report.failed.append((where, str(storage_error("remove", error))))


def _is_draft(name: str) -> bool:
    return name.startswith(WITHDRAWN) or (name.startswith(".") and is_unique(name[1:]))
