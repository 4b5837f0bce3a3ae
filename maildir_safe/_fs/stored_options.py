"""What a probe found out about a mount and stored in a directory, for every `Maildir` and `Queue` below it.

The file nearest above a Maildir counts, up to the root of the mount; not everybody may write to that.
The file is advice from the directory's owner. It is believed only if nobody but its owner, root or
ourselves may write it, and only where it says what it may say; otherwise it counts as absent.
"""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from maildir_safe._fs import FileSystem, Mount

STORED = ".maildir-safe.json"
"""The file that holds the options for all mail below its directory."""

LONGEST = 3600.0
"""Seconds: no mount hides longer what other hosts do."""

_LARGEST = 4096
# ELOOP: in the root of Coda every name is a link to a realm of that name, dangling where there is none
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_OTHERS = 0o022  # group and others may write
_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


def options_path(directory: str) -> str:
    """The file that holds the options stored in a directory."""
    return f"{directory.rstrip('/')}/{STORED}"


def stored_options(fs: FileSystem, path: str, mount: Mount) -> tuple[dict[str, Any], str]:
    """What is stored for a Maildir or spool; empty if nothing is, or nothing that can be believed.

    One call for each directory from `path` up to the root of the mount. Never raises; what is ignored
    is logged.

    Args:
        fs: the file system's calls.
        path: the Maildir or spool, as an absolute path.
        mount: what it lies on.

    Returns:
        The options, and the file that holds them (``""`` if there is none). The options are some of
        ``separator`` (``":"`` or ``";"``), ``staging`` (``"tmp"`` or ``"new"``), ``shared`` (False: hosts
        must not share a spool) and ``hidden_for`` (seconds that one host may not see what another did).
    """
    for directory in _directories(path, mount):
        file = options_path(directory)
        try:
            fd = fs.open(file)
        except OSError as error:
            if error.errno in _ABSENT:
                continue
            return _ignored(file, error.strerror), file
        found = _believed(fs, fd, file)
        if found is not None:
            return found, file
    return {}, ""


def _directories(path: str, mount: Mount) -> list[str]:
    """Where options may be stored, the nearest first: from `path` up, and the root of the mount."""
    point = mount.point
    for code, character in _ESCAPES:
        point = point.replace(code, character)
    found = []
    while path.startswith(point.rstrip("/") + "/"):  # not so where a symbolic link led to the mount
        found.append(path)
        path = path.rstrip("/").rpartition("/")[0] or "/"
        if path == "/":
            break
    return [*found, point] if point else found


def _believed(fs: FileSystem, fd: int, path: str) -> dict[str, Any] | None:
    """What a file says; None if it is a stranger's. The descriptor is closed."""
    import json
    import os.path

    try:
        try:
            why = _doubt(fs, fd, os.path.dirname(path))
            text = b"" if why else fs.read(fd, _LARGEST + 1)
        finally:
            fs.close(fd)
        if why:
            _ignored(path, why)
            return None
        if len(text) > _LARGEST:
            return _ignored(path, "it is too long")
        said = json.loads(text)
    except OSError as error:
        return _ignored(path, error.strerror)
    except (ValueError, RecursionError):
        return _ignored(path, "it is not JSON")
    if not isinstance(said, dict):
        return _ignored(path, "it is no JSON object")
    found = {key: value for key, value in said.items() if key in _VALID}
    wrong = [key for key, value in found.items() if not _VALID[key](value)]
    return _ignored(path, f"{wrong[0]} cannot be that") if wrong else found


def _doubt(fs: FileSystem, fd: int, directory: str) -> str:
    """Why a file is not to be believed; empty if it is.

    exFAT and the like show every file as everybody's: there, whoever may write it may write the root.
    """
    import os
    import stat

    root = fs.open_dir(directory)
    try:
        above = fs.fstat(root)
    finally:
        fs.close(root)
    about = fs.fstat(fd)
    if not stat.S_ISREG(about.st_mode):
        return "it is no regular file"
    if about.st_uid not in (0, os.geteuid(), above.st_uid):
        return f"it belongs to uid {about.st_uid}"
    if about.st_mode & _OTHERS & ~above.st_mode:
        return "others may write it"
    return ""


def _ignored(path: str, why: str | None) -> dict[str, Any]:
    import logging

    log = logging.getLogger(__name__)
    if not log.handlers:  # no word on standard error by itself: getmail takes that for a failed delivery
        log.addHandler(logging.NullHandler())
    log.warning("%s is ignored: %s", path, why)
    return {}


def _is_seconds(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= LONGEST  # type: ignore[operator]


_VALID = {
    "separator": lambda value: value in (":", ";"),
    "staging": lambda value: value in ("tmp", "new"),
    "shared": lambda value: value is False,
    "hidden_for": _is_seconds,
}
