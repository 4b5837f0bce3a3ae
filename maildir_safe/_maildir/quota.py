"""The quota of a Maildir++ (`maildirsize`): read, never written.

Its first line is ``<bytes>S,<messages>C``; the others are sizes and counts to be added up
(https://www.courier-mta.org/imap/README.maildirquota.html). Programs that keep it append to it,
which is not safe on network mounts, so that this package leaves it alone.
"""

from __future__ import annotations

from maildir_safe.errors import QuotaExceeded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem


def check_quota(fs: FileSystem, path: str, root: int, size: int) -> None:
    """Refuse a message that the Maildir's quota has no room for.

    Args:
        path: the Maildir, for the error's text.
        root: a descriptor of the Maildir.
        size: bytes of the message; 0 if not known, then only a quota that is already used up counts.

    Raises:
        QuotaExceeded: over quota; temporary, status 4.2.2.
        OSError: maildirsize is there and cannot be read.
    """
    try:
        fd = fs.open("maildirsize", root)
    except FileNotFoundError:
        return
    with fs.reader(fd) as file:
        first, *rest = file.read(1 << 20).decode("ascii", "replace").splitlines() or [""]
    most = {part[-1:]: int(part[:-1]) for part in first.split(",") if part[:-1].isdecimal()}
    sums = [_numbers(line) for line in rest]
    used = {"S": sum(pair[0] for pair in sums) + size, "C": sum(pair[1] for pair in sums) + 1}
    for unit, word in (("S", "bytes"), ("C", "messages")):
        if 0 < most.get(unit, 0) < used[unit]:
            raise QuotaExceeded(f"{path}: over quota: {used[unit]} of {most[unit]} {word}")


def _numbers(line: str) -> tuple[int, int]:
    try:
        size, count = map(int, line.split())
    except ValueError:
        return 0, 0  # a torn line, as two writers on a network mount leave them
    return size, count
