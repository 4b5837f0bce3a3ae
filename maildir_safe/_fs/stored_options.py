"""Options that a probe stored in a directory, for every `Maildir` and `Queue` below it.

The nearest file above a Maildir applies, up to the root of the mount. It need not be in the root, since
not everybody may write there. The file is advice from the directory's owner. It is used only if nobody
but its owner, root and ourselves can write it, and only if all its options are valid. Otherwise it is
ignored.
"""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from maildir_safe._fs import FileSystem, Mount

STORED = ".maildir-safe.json"
"""The name of the file that holds the options for all mail below its directory."""

LONGEST = 3600.0
"""The largest valid `hidden_for`, in seconds: no mount hides other hosts' changes for longer."""

_LARGEST = 4096
# ELOOP: in the root of Coda every name is a link to a realm of that name, dangling where there is none
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_OTHERS = 0o022  # group and others may write
_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


def options_path(directory: str) -> str:
    """Return the path of the file that holds the options stored in a directory."""
    return f"{directory.rstrip('/')}/{STORED}"


def stored_options(fs: FileSystem, path: str, mount: Mount) -> tuple[dict[str, Any], str]:
    """Return the options stored for a Maildir or spool; empty if there are none that can be trusted.

    One file is looked up in each directory from `path` up to the root of the mount. Never raises; a
    file that is ignored is logged.

    Args:
        fs: the file system's calls.
        path: the Maildir or spool, as an absolute path.
        mount: the mount that holds it.

    Returns:
        The options, and the file that holds them (``""`` if there is none). The options are some of
        ``separator`` (``":"`` or ``";"``), ``staging`` (``"tmp"`` or ``"new"``), ``shared`` (False: hosts
        must not share a spool) and ``hidden_for`` (seconds for which a host may not see another's changes).
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
    """Return the directories that may hold options, from `path` up to the root of the mount."""
    point = mount.point
    for code, character in _ESCAPES:
        point = point.replace(code, character)
    found = []
    while path.startswith(point.rstrip("/") + "/"):  # false if a symbolic link led to the mount
        found.append(path)
        path = path.rstrip("/").rpartition("/")[0] or "/"
        if path == "/":
            break
    return [*found, point] if point else found


def _believed(fs: FileSystem, fd: int, path: str) -> dict[str, Any] | None:
    """Return the options in a file; None if the file cannot be trusted. Closes the descriptor."""
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
        return _ignored(path, "it is not a JSON object")
    found = {key: value for key, value in said.items() if key in _VALID}
    wrong = [key for key, value in found.items() if not _VALID[key](value)]
    return _ignored(path, f"{wrong[0]} has an invalid value") if wrong else found


def _doubt(fs: FileSystem, fd: int, directory: str) -> str:
    """Return the reason not to trust a file; empty if there is none.

    exFAT and similar types show every file as writable by everybody. The file is then as trustworthy
    as its directory, which has the same permissions.
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
        return "it is not a regular file"
    if about.st_uid not in (0, os.geteuid(), above.st_uid):
        return f"it belongs to uid {about.st_uid}"
    if about.st_mode & _OTHERS & ~above.st_mode:
        return "others may write it"
    return ""


def _ignored(path: str, why: str | None) -> dict[str, Any]:
    import logging

    log = logging.getLogger(__name__)
    if not log.handlers:  # not to standard error: getmail takes output for a failed delivery
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
