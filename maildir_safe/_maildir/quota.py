"""The quota of a Maildir++ (`maildirsize`): read, never written.

Its first line is ``<bytes>S,<messages>C``; the others are sizes and counts to be added up
(https://www.courier-mta.org/imap/README.maildirquota.html). Programs that keep it append to it,
which is not safe on network mounts, so that this package leaves it alone. The sum is therefore
believed only while it leaves room. Once it does not, the messages themselves are counted: whoever
empties a Maildir without a word to this file must not lose new mail over it.
"""

from __future__ import annotations

import errno
import stat

from maildir_safe._handoff.rename import close_quietly
from maildir_safe.errors import QuotaExceeded, TemporaryError, storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from maildir_safe._fs import FileSystem
    from maildir_safe._maildir.maildir import Maildir

_LONGEST = 1 << 20
_DIGITS = 18  # of a number of bytes; more are no number that anybody meant


class Quota:
    """What a Maildir's quota allows, and how much of it is used by its own account.

    Attributes:
        most: bytes and messages allowed; 0: any number.
        used: bytes and messages there are, as far as maildirsize tells.
    """

    def __init__(self, path: str, most: tuple[int, int], used: tuple[int, int]) -> None:
        self._path = path
        self.most = most
        self.used = used

    def check(self, size: int) -> None:
        """Refuse a message of `size` bytes that does not fit. Raises QuotaExceeded."""
        after = self.used[0] + size, self.used[1] + 1
        for most, would_be, word in zip(self.most, after, ("bytes", "messages"), strict=True):
            if 0 < most < would_be:
                raise QuotaExceeded(f"{self._path}: over quota: {would_be} of {most} {word}")

    def metered(self, stream: BinaryIO) -> BinaryIO:
        """The stream, ending in QuotaExceeded where it is longer than what there is room for."""
        return _Metered(stream, self)  # type: ignore[return-value]


class _Metered:
    """A stream that ends in `QuotaExceeded` where it is longer than what its Maildir has room for.

    Args:
        stream: the message.
        quota: of the Maildir, with room for the message's beginning.
    """

    def __init__(self, stream: BinaryIO, quota: Quota) -> None:
        self._stream = stream
        self._quota = quota
        self._size = 0

    def read(self, size: int = -1) -> bytes:
        """As the stream's."""
        chunk = self._stream.read(size)
        self._size += len(chunk or b"")
        self._quota.check(self._size)
        return chunk


def check_quota(maildir: Maildir, fs: FileSystem, root: int, size: int) -> Quota | None:
    """Refuse a message that the Maildir's quota has no room for.

    Args:
        root: a descriptor of the Maildir.
        size: bytes of the message, or those that are known of it.

    Returns:
        The quota; None if there is none.

    Raises:
        QuotaExceeded: over quota; temporary, status 4.2.2.
        TemporaryError: maildirsize is there and cannot be read, or is no quota.
    """
    try:
        text = _read(fs, maildir.path, root)
    except OSError as error:
        raise storage_error(f"read {maildir.path}/maildirsize", error) from error
    if text is None:
        return None
    first, *rest = text.splitlines() or [""]
    quota = Quota(maildir.path, _most(maildir.path, first), _sum(rest))
    try:
        quota.check(size)
    except QuotaExceeded:
        quota.used = _count(maildir)
        quota.check(size)
    return quota


def _count(maildir: Maildir) -> tuple[int, int]:
    """Bytes and messages that there are; what cannot be read is no reason to refuse mail."""
    size = count = 0
    for folder in ("INBOX", *maildir.folders()):
        if folder == "Trash" or folder.startswith("Trash."):
            continue  # neither do these count, nor what has the flag T
        try:
            box = maildir.folder(folder, create=False)
            kept = [message for message in box.messages() if "T" not in message.flags]
        except TemporaryError:
            continue
        size += sum(map(box.size_of, kept))
        count += len(kept)
    return size, count


def _read(fs: FileSystem, path: str, root: int) -> str | None:
    try:
        fd = fs.open("maildirsize", root)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise TemporaryError(f"{path}/maildirsize is not a file") from error
        raise
    try:
        if not stat.S_ISREG(fs.fstat(fd).st_mode):
            raise TemporaryError(f"{path}/maildirsize is not a file")
        data = b""
        while len(data) < _LONGEST and (chunk := fs.read(fd, _LONGEST)):
            data += chunk
    finally:
        close_quietly(fs, fd)
    return data.decode("ascii", "replace")


def _most(path: str, line: str) -> tuple[int, int]:
    most = {"S": 0, "C": 0}
    for part in line.split(","):
        number, unit = part[:-1].strip(), part[-1:]
        if unit not in most:
            continue  # a unit of a later day
        if not (number.isascii() and number.isdecimal() and len(number) <= _DIGITS):
            raise TemporaryError(f"{path}/maildirsize begins with {part[:40]!r}, which is no quota")
        most[unit] = int(number)
    return most["S"], most["C"]


def _sum(lines: list[str]) -> tuple[int, int]:
    pairs = [_numbers(line) for line in lines]
    return sum(size for size, _ in pairs), sum(count for _, count in pairs)


def _numbers(line: str) -> tuple[int, int]:
    words = line.split()
    if len(words) != 2 or max(map(len, words)) > _DIGITS:
        return 0, 0  # a torn line, as two writers on a network mount leave them
    try:
        return int(words[0]), int(words[1])
    except ValueError:
        return 0, 0
