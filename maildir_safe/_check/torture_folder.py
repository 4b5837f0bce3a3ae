"""The sub-folder that torture works in: made, read in the end, and removed."""

from __future__ import annotations

import os.path
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._handoff.removing import remove_tree
from maildir_safe._maildir.maildir import Maildir
from maildir_safe._probe.space import room_left
from maildir_safe.errors import MaildirSafeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from maildir_safe._check.torture_ledger import TortureReport

    T = TypeVar("T")


_PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds


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
def own_folder(path: str, report: TortureReport) -> Iterator[str]:
    """Make a folder in `path`, give its path, and remove it with all in it.

    A folder in which messages could not be read stays, and the report tells where it is.

    Raises:
        OSError: it cannot be made.
    """
    fs = OsFileSystem()
    path = os.path.abspath(path)
    above = fs.open_dir(path)
    name = f"maildir-safe-torture-{fs.random(4).hex()}"
    try:
        fs.mkdir(name, above)
        try:
            yield f"{path}/{name}"
        finally:
            if report.unreadable:
                report.kept = f"{path}/{name}"
            else:
                try:
                    remove_tree(fs, name, above)
                except OSError:
                    pass  # what resists is left there: it must not hide what was found
    finally:
        fs.close(above)


class Found:
    """What is there when all is over.

    Attributes:
        messages: of each message that could be read its place, and what is in it.
        unreadable: of each that could not be read its place and the error. Unreadable is not lost.
    """

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.unreadable: list[str] = []

    def read(self, place: str, call: Callable[[], bytes]) -> None:
        """Read one message, patiently, and enter it or the error."""
        try:
            self.messages.append((place, patiently(call)))
        except (KeyError, FileNotFoundError):
            pass  # it was listed and is not there: the ledger decides whether it was lost
        except (MaildirSafeError, OSError) as error:
            self.unreadable.append(f"{place}: {error}")


def read_all(path: str) -> Found:
    """Every message of a Maildir.

    Raises:
        MaildirSafeError, OSError: the Maildir cannot be listed.
    """
    maildir = Maildir(path, create=False)
    found = Found()

    def read(key: str) -> bytes:
        with maildir.open(key) as file:
            return file.read()

    for entry in maildir.messages():
        found.read(f"{path}: {entry.name}", partial(read, entry.key))
    return found


def read_patiently(path: str, acknowledged: int) -> Found:
    """Every message of a Maildir in which so many were acknowledged; raises nothing.

    A Maildir that cannot be listed hides all of its messages, and has lost none yet. One that its
    parent's listing does not show is gone, with all that was in it.
    """
    try:
        return patiently(lambda: read_all(path)) if acknowledged else read_all(path)
    except (MaildirSafeError, OSError) as error:
        found = Found()
        if not _is_gone(path):
            found.unreadable = [f"{path}: {error}"] * acknowledged
        return found


def _is_gone(path: str) -> bool:
    fs = OsFileSystem()
    above, name = os.path.split(path)
    try:
        dir_fd = fs.open_dir(above)
        try:
            return name not in fs.listdir(dir_fd)
        finally:
            fs.close(dir_fd)
    except OSError:
        return False


def patiently(call: Callable[[], T]) -> T:
    """Try again for some seconds: what fails for a moment has lost nothing yet (smbnetfs: 3 s)."""
    for pause in _PAUSES:
        try:
            return call()
        except (MaildirSafeError, OSError):
            time.sleep(pause)
    return call()
