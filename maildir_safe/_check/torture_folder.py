"""The folder that torture works in: its creation, the final reading, and its removal."""

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
from maildir_safe.errors import MaildirSafeError, PermanentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from maildir_safe._check.torture_ledger import TortureReport

    T = TypeVar("T")


_PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds


class TortureDirectory:
    """Tells whether a mount has enough free space to go on, so that a run does not fill it.

    Args:
        path: a directory on it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._begin = self._left()

    def _left(self) -> list[float]:
        try:
            return room_left(self._path)
        except OSError:  # the mount does not tell, or not now
            return []

    def __bool__(self) -> bool:
        """False if nine tenths of the initially free space, or of the free inodes, are used up."""
        return all(now > begin / 10 for now, begin in zip(self._left(), self._begin, strict=False))


@contextmanager
def own_folder(path: str, report: TortureReport) -> Iterator[str]:
    """Create a folder in `path`, yield its path, and remove it with all its content.

    If messages in it could not be read, the folder is kept, and the report has its path.

    Raises:
        OSError: the folder cannot be created.
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
                    pass  # leave the rest: this error must not hide the findings
    finally:
        fs.close(above)


class Found:
    """The messages found in the end.

    Attributes:
        messages: the place and the content of each readable message.
        unreadable: the place and the error of each unreadable message. Unreadable is not lost.
    """

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.unreadable: list[str] = []

    def read(self, place: str, call: Callable[[], bytes]) -> None:
        """Read one message, with retries, and enter it or the error."""
        try:
            self.messages.append((place, patiently(call)))
        except (KeyError, FileNotFoundError):
            pass  # it was listed but is gone: the ledger decides whether it was lost
        except PermanentError:
            self.messages.append((place, b""))  # it was read, and is shorter than its name says
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
    """Every message of a Maildir, in which `acknowledged` messages are expected; raises nothing.

    If the Maildir cannot be listed, its messages count as unreadable, not as lost. If its parent's listing
    does not show it, it is gone with all its messages.
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
    """Retry for some seconds: an error that passes has lost nothing (smbnetfs needs 3 s)."""
    for pause in _PAUSES:
        try:
            return call()
        except (MaildirSafeError, OSError):
            time.sleep(pause)
    return call()
