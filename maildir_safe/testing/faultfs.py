"""The FUSE process behind `faultmount`: passes calls on to a directory, unless the plan has a fault.

Started as ``python -m maildir_safe.testing.faultfs BACKING MOUNTPOINT``. Commands come as one
JSON object a line on standard input, answers go to standard output, so it can be driven by
hand or from any language; the end of the input unmounts. A mount cannot outlive its test.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import mfusepy

from maildir_safe.testing.faultplan import Effect, Fault, Plan, Reported

_NO_CACHE = {"entry_timeout": 0, "attr_timeout": 0, "negative_timeout": 0}
_PLAIN = (
    "st_mode",
    "st_ino",
    "st_nlink",
    "st_uid",
    "st_gid",
    "st_size",
    "st_blocks",
    "st_blksize",
    "st_rdev",
)
_UTIME_NOW, _UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2  # utimensat(2); libfuse 3 passes them on
_KINDS = {True: 0o040000, False: 0o100000}  # S_IFDIR, S_IFREG: a listing needs no more

Entry = tuple[str, dict[str, int], int]


class FaultyPassThrough:
    """FUSE operations on a backing directory. Operations have FUSE's names, faults have POSIX's."""

    use_ns = True

    def __init__(self, backing: str, plan: Plan) -> None:
        self.backing = backing
        self.plan = plan

    def init(self, _path: str) -> None:
        """Handle FUSE's call after mounting."""
        _say({"ready": True})

    def _real(self, path: str) -> str:
        return self.backing + path

    def _call(self, operation: str, path: str, effect: Effect, copy: Effect | None = None) -> Any:
        name = path.lstrip("/")
        fault = self.plan.take(operation, name)
        return effect() if fault is None else self.plan.act(fault, name, effect, copy)

    def _opened(self, operation: str, path: str, flags: int, mode: int = 0) -> int:
        try:
            fd: int = self._call(operation, path, lambda: os.open(self._real(path), flags, mode))
        except Reported as error:
            if error.result is not None:
                os.close(error.result)
            raise
        return fd

    def _give_to_caller(self, path: str) -> None:
        """Give a new file to the calling user: root's mount also serves other users' programs."""
        if os.geteuid() == 0:
            uid, gid, _ = mfusepy.fuse_get_context()
            os.chown(self._real(path), uid, gid, follow_symlinks=False)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        def look() -> os.stat_result:
            return os.lstat(self._real(path)) if fh is None else os.fstat(fh)

        st = self._call("stat", path, look)
        times = {key: getattr(st, key + "_ns") for key in ("st_atime", "st_mtime", "st_ctime")}
        return times | {key: getattr(st, key) for key in _PLAIN}

    def open(self, path: str, flags: int) -> int:
        return self._opened("open", path, flags)

    def create(self, path: str, mode: int, flags: int) -> int:
        fd = self._opened("create", path, flags | os.O_CREAT, mode)
        self._give_to_caller(path)
        return fd

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        data: bytes = self._call("read", path, lambda: os.pread(fh, size, offset))
        return data

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        count: int = self._call("write", path, lambda: os.pwrite(fh, data, offset))
        return count

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        target = self._real(path) if fh is None else fh
        self._call("truncate", path, lambda: os.truncate(target, length))

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        self._call("fsync", path, lambda: os.fdatasync(fh) if datasync else os.fsync(fh))

    def flush(self, path: str, fh: int) -> None:
        self._call("close", path, lambda: os.close(os.dup(fh)))

    def release(self, _path: str, fh: int) -> None:
        os.close(fh)

    def opendir(self, path: str) -> int:
        return os.open(self._real(path), os.O_RDONLY | os.O_DIRECTORY)

    def releasedir(self, _path: str, fh: int) -> None:
        os.close(fh)

    def fsyncdir(self, path: str, _datasync: int, fh: int) -> None:
        self._call("fsyncdir", path, lambda: os.fsync(fh))

    def readdir(self, path: str, fh: int) -> Iterator[Entry]:
        fault = self.plan.take("listdir", path.lstrip("/"))
        listing = entries(fh)
        if fault is not None:
            listing = self.plan.act(fault, path.lstrip("/"), lambda: fault.listing or listing)
        return iter(listing)

    def rename(self, old: str, new: str) -> None:
        source, target = self._real(old), self._real(new)
        if os.path.basename(new).startswith(".fuse_hidden"):  # libfuse's own, for the unlink of an open file
            os.rename(source, target)
            return
        self._call(
            "rename",
            new,
            lambda: os.rename(source, target),
            copy=lambda: shutil.copy2(source, target),
        )

    def link(self, new: str, old: str) -> None:
        self._call("link", new, lambda: os.link(self._real(old), self._real(new), follow_symlinks=False))

    def unlink(self, path: str) -> None:
        self._call("unlink", path, lambda: os.unlink(self._real(path)))

    def mkdir(self, path: str, mode: int) -> None:
        self._call("mkdir", path, lambda: os.mkdir(self._real(path), mode))
        self._give_to_caller(path)

    def rmdir(self, path: str) -> None:
        self._call("rmdir", path, lambda: os.rmdir(self._real(path)))

    def symlink(self, path: str, points_to: str) -> None:
        self._call("symlink", path, lambda: os.symlink(points_to, self._real(path)))
        self._give_to_caller(path)

    def readlink(self, path: str) -> str:
        return os.readlink(self._real(path))

    def chmod(self, path: str, mode: int) -> None:
        self._call("chmod", path, lambda: os.chmod(self._real(path), mode))

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.chown(self._real(path), uid, gid, follow_symlinks=False)

    def utimens(self, path: str, times: tuple[int, int]) -> None:
        st = os.lstat(self._real(path))
        now = time.time_ns()
        atime, mtime = (
            {_UTIME_NOW: now, _UTIME_OMIT: old}.get(asked, asked)
            for asked, old in zip(times, (st.st_atime_ns, st.st_mtime_ns), strict=True)
        )
        self._call(
            "utime", path, lambda: os.utime(self._real(path), ns=(atime, mtime), follow_symlinks=False)
        )

    def statfs(self, path: str) -> dict[str, int]:
        st = os.statvfs(self._real(path))
        return {key: getattr(st, key) for key in dir(st) if key.startswith("f_") and key != "f_fsid"}


def entries(directory: str | int) -> list[Entry]:
    """Return a directory's entries for FUSE. An entry without an inode number would not be shown."""
    dots: list[Entry] = [(dot, {"st_mode": 0o040000, "st_ino": 1}, 0) for dot in (".", "..")]
    with os.scandir(directory) as found:
        return dots + [
            (one.name, {"st_mode": _KINDS[one.is_dir(follow_symlinks=False)], "st_ino": one.inode()}, 0)
            for one in found
        ]


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def _obey(command: dict[str, Any], backing: str, plan: Plan) -> dict[str, Any]:
    verb = command.pop("do", None)
    if verb == "inject":
        fault = Fault(**command)
        if fault.stale:
            fault.listing = entries(os.path.join(backing, fault.name))
        plan.inject(fault)
        return {}
    if verb == "fired":
        return {"fired": [dataclasses.astuple(one) for one in plan.fired()]}
    if verb == "release":
        return {"late": plan.release()}
    if verb == "clear":
        plan.clear()
        return {}
    raise ValueError(f"unknown command {verb!r}")


def _control(backing: str, mountpoint: str, plan: Plan) -> None:
    """Answer commands until `close` or the end of the input, then unmount."""
    for line in sys.stdin:
        try:
            command = json.loads(line)
            if command == {"do": "close"}:
                break
            _say(_obey(command, backing, plan))
        except (ValueError, TypeError, OSError) as error:
            _say({"error": f"{type(error).__name__}: {error}"})
    unmount = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount", "-u", "-z"]
    subprocess.run([*unmount, mountpoint], check=False, stderr=subprocess.DEVNULL)
    os._exit(0)  # answers that are still held must not keep the process


def main() -> None:
    """Serve one mount until standard input ends or it is unmounted."""
    backing, mountpoint = (os.path.abspath(path) for path in sys.argv[1:3])
    plan = Plan()
    os.umask(0)  # the kernel has applied the caller's
    threading.Thread(target=_control, args=(backing, mountpoint, plan), daemon=True).start()
    options = {"use_ino": True, "default_permissions": True, "allow_other": os.geteuid() == 0, **_NO_CACHE}
    mfusepy.FUSE(
        FaultyPassThrough(backing, plan), mountpoint, foreground=True, fsname="faultmount", **options
    )


if __name__ == "__main__":
    main()
