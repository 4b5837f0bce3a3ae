"""Messages that another program has compressed (Dovecot's zlib plugin): told apart by their first bytes.

Their names carry the size before that, and often a flag ``Z``. Nothing here unpacks them.
"""

from __future__ import annotations

from maildir_safe._handoff.rename import close_quietly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem

_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"Dovecot-LZ4", "lz4"),
)
_LONGEST = max(len(magic) for magic, _ in _MAGIC)


def compression(fs: FileSystem, name: str, dir_fd: int) -> str:
    """What a message is compressed with, such as ``"gzip"``; ``""`` if it is not.

    Raises:
        OSError: it cannot be read.
    """
    fd = fs.open(name, dir_fd)
    try:
        start = fs.read(fd, _LONGEST)
    finally:
        close_quietly(fs, fd)
    return next((kind for magic, kind in _MAGIC if start.startswith(magic)), "")
