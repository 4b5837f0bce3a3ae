"""The recorder: a FUSE process whose one file is the disk under a loop device.

Run as ``disk_recorder.py IMAGE LOG MOUNTPOINT``. The mount point shows two files: ``disk`` is
IMAGE, and every write and flush of it is appended to LOG before it is answered; what a
workload writes into ``marks`` goes into the same log, in the order in which it happened. One
thread: the order in the log is the order of the answers.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

HEADER = struct.Struct("<cQI")
WRITE, FLUSH, MARK = b"W", b"F", b"M"


class Record(NamedTuple):
    """One line of the log: a block write, a flush, or a mark of the workload."""

    kind: bytes
    offset: int
    data: bytes


def read_log(stream: BinaryIO) -> Iterator[Record]:
    """The records of a log file, in order."""
    while header := stream.read(HEADER.size):
        kind, offset, size = HEADER.unpack(header)
        yield Record(kind, offset, stream.read(size))


def append(log: int, record: Record) -> None:
    """Add a record to a log file."""
    os.write(log, HEADER.pack(record.kind, record.offset, len(record.data)) + record.data)


class Recorder:
    """FUSE operations: two files, no directories."""

    use_ns = True

    def __init__(self, image: int, log: int) -> None:
        self.image = image
        self.log = log

    def init(self, _path: str) -> None:
        print("ready", flush=True)

    def getattr(self, path: str, _fh: int | None = None) -> dict[str, int]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path not in ("/disk", "/marks"):
            raise FileNotFoundError(2, path)
        found = os.fstat(self.image if path == "/disk" else self.log)
        size = found.st_size if path == "/disk" else 0
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": found.st_nlink, "st_size": size}

    def open(self, _path: str, _flags: int) -> int:
        return 0

    def truncate(self, _path: str, _length: int, _fh: int | None = None) -> None:
        raise PermissionError(1, "the disk has its size")

    def read(self, _path: str, size: int, offset: int, _fh: int) -> bytes:
        return os.pread(self.image, size, offset)

    def write(self, path: str, data: bytes, offset: int, _fh: int) -> int:
        if path == "/marks":
            append(self.log, Record(MARK, 0, data))
            return len(data)
        append(self.log, Record(WRITE, offset, data))
        return os.pwrite(self.image, data, offset)

    def fsync(self, _path: str, _datasync: int, _fh: int) -> None:
        append(self.log, Record(FLUSH, 0, b""))


def main() -> None:
    """Serve the disk until it is unmounted."""
    import mfusepy

    image = os.open(sys.argv[1], os.O_RDWR)
    log = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    mfusepy.FUSE(Recorder(image, log), sys.argv[3], foreground=True, nothreads=True, fsname="disk_recorder")


if __name__ == "__main__":
    main()
