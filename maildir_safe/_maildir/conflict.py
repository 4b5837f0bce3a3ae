"""What Coda makes of a file or directory in conflict: a dangling link to ``@volume.vnode.uniquifier``."""

from __future__ import annotations

from maildir_safe.errors import TemporaryError, storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem


def link_target(fs: FileSystem, name: str, dir_fd: int) -> str:
    """Where a symbolic link points, else ``""``. Never raises."""
    try:
        return fs.readlink(name, dir_fd)
    except OSError:
        return ""


def in_conflict(fs: FileSystem, name: str, dir_fd: int) -> str:
    """Where the link points if the name is in conflict, else ``""``. Never raises."""
    target = link_target(fs, name, dir_fd)
    return target if target.startswith("@") else ""


def unusable(fs: FileSystem, path: str, dir_fd: int, error: OSError) -> TemporaryError:
    """The error that says why `path`, in the directory `dir_fd`, cannot be used: a conflict, by name."""
    target = in_conflict(fs, path.rpartition("/")[2], dir_fd)
    if target:
        return TemporaryError(
            f"{path} is in conflict (a link to {target}); repair it with the file system's tools"
        )
    return storage_error(path, error)
