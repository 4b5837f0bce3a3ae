"""A file that the administrator wrote: what is wrong with it is exit code 78; a storage error is 75."""

from __future__ import annotations

from maildir_safe._submission.rejected import CONFIGURATION, Rejected
from maildir_safe.errors import TemporaryError


def read_file(path: str, largest: int, hint: str = "") -> str:
    """Return the text of a configuration file.

    Args:
        path: the file.
        largest: most bytes that it may have.
        hint: follows the reason if there is no such file, or no right to read it.

    Raises:
        Rejected: it is missing, too large or not UTF-8 (exit code 78).
        TemporaryError: it cannot be read now.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(largest + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise Rejected(f"{path}: {error.strerror}{hint}", CONFIGURATION) from error
    except OSError as error:
        raise TemporaryError(f"{path}: {error.strerror}") from error
    if len(data) > largest:
        raise Rejected(f"{path}: has more than {largest} bytes", CONFIGURATION)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Rejected(f"{path}: {error}", CONFIGURATION) from error
