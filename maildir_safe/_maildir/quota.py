"""The quota of a Maildir++ (`maildirsize`), which is read and never written.

The first line is ``<bytes>S,<messages>C``. The other lines are sizes and counts, to be added up
(https://www.courier-mta.org/imap/README.maildirquota.html). Programs that maintain the file append to
it, which is not safe on network mounts, so this package does not. The sum may therefore be outdated. It
is used only as long as it leaves room. When it does not, the messages themselves are counted, so that no
mail is refused because a program emptied the Maildir without updating the file.
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
_DIGITS = 18  # the most digits of a number; a longer one is an error


class Quota:
    """The limits of a Maildir's quota, and the usage that maildirsize records.

    Args:
        path: the Maildir, for error messages.

    Attributes:
        most: bytes and messages allowed; 0: unlimited.
        used: bytes and messages present, according to maildirsize.
    """

    def __init__(self, path: str, most: tuple[int, int], used: tuple[int, int]) -> None:
        self._path = path
        self.most = most
        self.used = used

    def check(self, size: int) -> None:
        """Raise QuotaExceeded if a message of `size` bytes does not fit."""
        after = self.used[0] + size, self.used[1] + 1
        for most, would_be, word in zip(self.most, after, ("bytes", "messages"), strict=True):
            if 0 < most < would_be:
                raise QuotaExceeded(f"{self._path}: over quota: {would_be} of {most} {word}")

    def metered(self, stream: BinaryIO) -> BinaryIO:
        """Return a stream that raises QuotaExceeded once it is too long for the quota."""
        return _Metered(stream, self)  # type: ignore[return-value]


class _Metered:
    """A stream that raises `QuotaExceeded` once it is longer than its Maildir's quota allows.

    Args:
        stream: the message.
        quota: the Maildir's quota.
    """

    def __init__(self, stream: BinaryIO, quota: Quota) -> None:
        self._stream = stream
        self._quota = quota
        self._size = 0

    def read(self, size: int = -1) -> bytes:
        """Read from the stream; raise QuotaExceeded if it has become too long."""
        chunk = self._stream.read(size)
        self._size += len(chunk or b"")
        self._quota.check(self._size)
        return chunk


def check_quota(maildir: Maildir, fs: FileSystem, root: int, size: int) -> Quota | None:
    """Refuse a message that would exceed the Maildir's quota.

    Args:
        maildir: the Maildir.
        fs: the file system's calls.
        root: a descriptor of the Maildir.
        size: bytes of the message, or those known so far.

    Returns:
        The quota; None if there is none.

    Raises:
        QuotaExceeded: over quota; temporary, status 4.2.2.
        TemporaryError: maildirsize exists but cannot be read, or is not a quota.
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
    """Count bytes and messages. Skip a folder that cannot be read, rather than refuse mail."""
    size = count = 0
    for folder in ("INBOX", *maildir.folders()):
        if folder == "Trash" or folder.startswith("Trash."):
            continue  # the quota counts neither Trash nor messages with the flag T
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
            continue  # an unknown unit
        if not (number.isascii() and number.isdecimal() and len(number) <= _DIGITS):
            raise TemporaryError(f"{path}/maildirsize begins with {part[:40]!r}, which is not a quota")
        most[unit] = int(number)
    return most["S"], most["C"]


def _sum(lines: list[str]) -> tuple[int, int]:
    pairs = [_numbers(line) for line in lines]
    return sum(size for size, _ in pairs), sum(count for _, count in pairs)


def _numbers(line: str) -> tuple[int, int]:
    words = line.split()
    if len(words) != 2 or max(map(len, words)) > _DIGITS:
        return 0, 0  # a torn line, left by two writers on a network mount
    try:
        return int(words[0]), int(words[1])
    except ValueError:
        return 0, 0
