"""Small files beside a Maildir's tmp/, new/ and cur/: what belongs to its messages and is not mail."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from maildir_safe._handoff.rename import close_quietly
from maildir_safe._handoff.small_files import publish_small_file
from maildir_safe.errors import TemporaryError, storage_error

if TYPE_CHECKING:
    from maildir_safe._maildir.maildir import Maildir

_NO_FILE = {errno.ELOOP, errno.ENXIO, errno.EISDIR}


def read_side_file(maildir: Maildir, name: str, most: int) -> bytes | None:
    """Read a file in the root of a Maildir; None if there is none.

    Args:
        maildir: the Maildir.
        name: the file's name.
        most: most bytes of it.

    Raises:
        TemporaryError: it cannot be read, is longer, or is not a file.
    """
    where, fs, held = f"{maildir.path}/{name}", maildir._fs, maildir.directories()
    try:
        fd = fs.open(name, held.root)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in _NO_FILE:  # a link, a socket
            raise TemporaryError(f"{where} is not a file") from error
        raise storage_error(f"read {where}", error) from error
    try:
        if not stat.S_ISREG(fs.fstat(fd).st_mode):
            raise TemporaryError(f"{where} is not a file")
        data = b""
        while len(data) <= most and (piece := fs.read(fd, most + 1 - len(data))):
            data += piece
    except OSError as error:
        raise storage_error(f"read {where}", error) from error
    finally:
        close_quietly(fs, fd)
    if len(data) > most:
        raise TemporaryError(f"{where} is longer than {most} bytes")
    return data


def write_side_file(maildir: Maildir, name: str, data: bytes) -> None:
    """Put a file into the root of a Maildir, complete and durable; one with that name is replaced.

    Args:
        maildir: the Maildir.
        name: the file's name.
        data: its content.

    Raises:
        TemporaryError: the file may or may not be in place, and may not be durable.
    """
    held = maildir.directories()
    try:
        publish_small_file(maildir._fs, held.root, name, data)
    except OSError as error:
        raise storage_error(f"write {maildir.path}/{name}", error) from error
