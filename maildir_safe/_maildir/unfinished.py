"""Finds and removes unfinished Maildirs: directories with dot names, left by processes that died."""

from __future__ import annotations

import os.path
from typing import TYPE_CHECKING

from maildir_safe._handoff.rename import close_quietly
from maildir_safe._maildir.directories import SUBDIRS, aside_prefix, discard, leads_to
from maildir_safe._names import FOLDER_MARK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maildir_safe._fs import FileSystem

_RANDOM = 16  # hexadecimal digits, after a dot
_FOLDERS = ".."  # a folder's name begins with a dot, and so with two of them while it is made


def unfinished(fs: FileSystem, path: str, root: int, before: float, remove: bool) -> list[str]:
    """Find what an interrupted creation of a Maildir or its folders has left.

    Never raises: what cannot be examined is left for another time.

    Args:
        path: the Maildir.
        root: its descriptor.
        before: seconds since 1970 on the server's clock; directories changed later are ignored.
        remove: also remove empty directories and folder marks; a directory that holds anything else is
            left alone.

    Returns:
        Names, relative to the Maildir.
    """
    inside = _in(fs, root, _FOLDERS, before, remove, SUBDIRS)
    return [f"../{aside}" for aside in unfinished_beside(fs, path, before, remove)] + inside


def unfinished_beside(
    fs: FileSystem, path: str, before: float, remove: bool, subdirs: Sequence[str] = SUBDIRS
) -> list[str]:
    """Find what an interrupted creation of a Maildir, or of a spool, has left beside it.

    Args:
        subdirs: the directories that it consists of. The other arguments and the errors are as for
            `unfinished`.

    Returns:
        Names in the directory above.
    """
    parent, name = os.path.split(os.path.abspath(path))
    try:
        above = fs.open_dir(parent)
    except OSError:
        return []
    try:
        return _in(fs, above, aside_prefix(name), before, remove, subdirs)
    finally:
        close_quietly(fs, above)


def _in(
    fs: FileSystem, above: int, prefix: str, before: float, remove: bool, subdirs: Sequence[str]
) -> list[str]:
    found: list[str] = []
    try:
        names = fs.listdir(above)
        for name in names:
            if not (name.startswith(prefix) and _is_random(name)) or fs.stat(name, above).st_mtime >= before:
                continue
            inside = fs.open_dir(name, above)
            try:
                final = name[1 : -_RANDOM - 1]  # or its beginning
                if any(leads_to(fs, other, above, inside) for other in names if other.startswith(final)):
                    continue
                if remove:
                    discard(fs, inside, above, name, subdirs, (FOLDER_MARK,))
            finally:
                close_quietly(fs, inside)
            found.append(name)
    except OSError:
        pass
    return found


def _is_random(name: str) -> bool:
    _, _, end = name.rpartition(".")
    return len(end) == _RANDOM and all(c in "0123456789abcdef" for c in end)
