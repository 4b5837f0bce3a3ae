"""The sub-folder that torture works in: made, read in the end, and removed."""

from __future__ import annotations

import stat
import time
from contextlib import contextmanager

from maildir_safe._fs import FileSystem, OsFileSystem
from maildir_safe._maildir.maildir import Maildir
from maildir_safe._probe.space import room_left
from maildir_safe.errors import MaildirSafeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    T = TypeVar("T")


class TortureDirectory:
    """Whether there is room enough on a mount to go on: a run must not fill it up.

    Args:
        path: a directory on it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._begin = self._left()

    def _left(self) -> list[float]:
        try:
            return room_left(self._path)
        except OSError:  # the mount does not say, or not just now
            return []

    def __bool__(self) -> bool:
        """False when nine tenths are used of the space, or of the files, that were left at the beginning."""
        return all(now > begin / 10 for now, begin in zip(self._left(), self._begin, strict=False))


@contextmanager
def own_folder(path: str) -> Iterator[str]:
    """Make a folder in `path`, give its path, and remove it with all in it.

    Raises:
        OSError: it cannot be made.
    """
    fs = OsFileSystem()
    above = fs.open_dir(path)
    name = f"maildir-safe-torture-{fs.random(4).hex()}"
    try:
        fs.mkdir(name, above)
        try:
            yield f"{path}/{name}"
        finally:
            try:
                remove_tree(fs, name, above)
            except OSError:
                pass  # what resists is left there: it must not hide what was found
    finally:
        fs.close(above)


def remove_tree(fs: FileSystem, name: str, above: int) -> None:
    """Remove a directory with all in it; links are never followed."""
    here = fs.open_dir(name, above)
    try:
        for entry in fs.listdir(here):
            if stat.S_ISDIR(fs.stat(entry, here).st_mode):
                remove_tree(fs, entry, here)
            else:
                fs.unlink(entry, dir_fd=here)
    finally:
        fs.close(here)
    fs.rmdir(name, above)


def read_all(path: str) -> list[tuple[str, bytes]]:
    """Every message of a Maildir: the name of its file, and what is in it.

    Raises:
        MaildirSafeError, OSError: it cannot be read.
    """
    maildir = Maildir(path, create=False)
    found = []
    for entry in maildir.messages():
        with maildir.open(entry.key) as file:
            found.append((entry.name, file.read()))
    return found


def patiently(call: Callable[[], T]) -> T:
    """Try again for some seconds: what fails for a moment has lost nothing yet (smbnetfs: 3 s)."""
    for pause in (1.0, 2.0, 4.0, 8.0):
        try:
            return call()
        except (MaildirSafeError, OSError):
            time.sleep(pause)
    return call()
