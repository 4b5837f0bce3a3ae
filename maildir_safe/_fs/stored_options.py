"""What a probe found out about a mount and left in its root, for every `Maildir` and `Queue` on it.

The file is advice from whoever looks after the mount. It is believed only if nobody but that one, root
or ourselves may write it, and only where it says what it may say; else it is as if it were not there.
"""

from __future__ import annotations

from maildir_safe._names import STORED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from maildir_safe._fs import FileSystem, Mount

LONGEST = 3600.0
"""Seconds: no mount hides longer what other hosts do."""

_LARGEST = 4096
_OTHERS = 0o022  # group and others may write
_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


def place(mount: Mount) -> str:
    """The file's path on a mount: in its root, which is the one place that all of it shares."""
    point = mount.point
    for code, character in _ESCAPES:
        point = point.replace(code, character)
    return f"{point.rstrip('/')}/{STORED}"


def stored(fs: FileSystem, mount: Mount) -> dict[str, Any]:
    """What is stored for a mount; empty if nothing is, or nothing that can be believed.

    One call more where there is no file. Never raises; what is ignored is logged.

    Returns:
        Some of ``separator`` (``":"`` or ``";"``), ``staging`` (``"tmp"`` or ``"new"``), ``shared``
        (False: hosts must not share a spool) and ``hidden_for`` (seconds that one host may not see
        what another did).
    """
    if not mount.point:
        return {}
    path = place(mount)
    try:
        fd = fs.open(path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        return _ignored(path, error.strerror)
    return _believed(fs, fd, path)


def _believed(fs: FileSystem, fd: int, path: str) -> dict[str, Any]:
    """What a file says, if it is to be believed; the descriptor is closed."""
    import json
    import os.path

    try:
        try:
            why = _doubt(fs, fd, os.path.dirname(path))
            text = b"" if why else fs.read(fd, _LARGEST + 1)
        finally:
            fs.close(fd)
        if why or len(text) > _LARGEST:
            return _ignored(path, why or "it is too long")
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
