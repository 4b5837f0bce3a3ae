"""One machine that uses a `SimServer`: a `maildir_safe._fs.FileSystem`, call by call."""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import BinaryIO

from maildir_safe._fs import Mount
from maildir_safe.testing.simclient import SimClient
from maildir_safe.testing.simdisk import ROOT, Disk, fail
from maildir_safe.testing.simfile import SimFile
from maildir_safe.testing.simserver import EPOCH


class SimHost(SimClient):
    """One machine, with every method of `maildir_safe._fs.FileSystem`. Arguments: see `SimClient`."""

    # -- the file calls: see maildir_safe._fs.FileSystem -----------------------------------

    def open_dir(self, path: str, dir_fd: int | None = None) -> int:
        """See `FileSystem.open_dir`. Paths start at the server's root."""
        start, full = (ROOT, path) if dir_fd is None else self._where(dir_fd, path)

        def act(disk: Disk) -> int:
            node = self._walk(disk, start, path)
            if node.kind != stat.S_IFDIR:
                raise fail(errno.ENOTDIR, path)
            return node.ino

        return self._new_fd(self._call("open_dir", full, act), full)

    def create(self, name: str, dir_fd: int) -> int:
        """See `FileSystem.create`."""
        parent, full = self._where(dir_fd, name)
        ino = self.server.new_ino()

        def act(disk: Disk) -> int:
            self._check_name(name)
            return disk.create(self._into(disk, parent), name, ino).ino

        def late(disk: Disk) -> None:  # another file than the one of a call that was repeated
            disk.create(parent, name, self.server.new_ino())

        self._call("create", full, act, changes=True, late=late)
        self._remember(parent, name, ino)
        self._listings.pop(parent, None)
        return self._new_fd(ino, full)

    def open(self, name: str, dir_fd: int | None = None) -> int:
        """See `FileSystem.open`. Without `dir_fd` nothing is found: these servers have no stored options."""
        if dir_fd is None:
            raise fail(errno.ENOENT, name)
        parent, full = self._where(dir_fd, name)

        def act(disk: Disk) -> int:
            node = self._lookup(disk, parent, name)
            if node.kind == stat.S_IFLNK:
                raise fail(errno.ELOOP, name)
            return self._readable(node).ino

        return self._new_fd(self._call("open", full, act), full)

    def read(self, fd: int, size: int) -> bytes:
        """See `FileSystem.read`."""
        handle = self._handle(fd)
        data = self._call("read", handle.path, lambda disk: self._readable(disk.nodes[handle.ino]).data)
        if self._odd:
            size = max(1, size // 2)
        piece = data[handle.offset : handle.offset + size]
        handle.offset += len(piece)
        return piece

    def reader(self, fd: int) -> BinaryIO:
        """See `FileSystem.reader`."""
        return io.BufferedReader(SimFile(self, fd, self._handle(fd).path))

    def seek(self, fd: int, offset: int, whence: int = 0) -> int:
        """Seek as `os.lseek` does; only a seek from the end makes a file call."""
        handle = self._handle(fd)
        start = {0: 0, 1: handle.offset, 2: self.fstat(fd).st_size if whence == 2 else 0}[whence]
        handle.offset = start + offset
        return handle.offset

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """See `FileSystem.write`."""
        handle = self._handle(fd)
        given, offset, ino = bytes(data), handle.offset, handle.ino

        def act(disk: Disk) -> int:
            taken = given[: max(1, len(given) // 2)] if self._odd else given
            disk.write(ino, offset, taken)
            return len(taken)

        taken = self._call("write", handle.path, act, changes=True)
        handle.offset += taken
        return taken

    def fsync(self, fd: int) -> None:
        """See `FileSystem.fsync`."""
        handle = self._handle(fd)
        ino = handle.ino
        if self._disk().nodes[ino].kind != stat.S_IFDIR:
            lost = lambda disk: disk.drop(ino)  # noqa: E731
            self._call("fsync", handle.path, lambda disk: disk.flush(ino), changes=True, failed=lost)
            return

        def act(disk: Disk) -> None:
            if self.profile.fsync_dir:
                raise fail(self.profile.fsync_dir)
            disk.sync_dir(ino)

        self._call("fsync_dir", handle.path, act, changes=True)

    def syncfs(self, fd: int) -> None:
        """See `FileSystem.syncfs`."""
        self._call("syncfs", self._handle(fd).path, lambda disk: disk.sync_all(), changes=True)

    def start_writing(self, fd: int) -> None:
        """See `FileSystem.start_writing`. Nothing to do: a crash may keep unsynced data in any case."""

    def close(self, fd: int) -> None:
        """See `FileSystem.close`. The descriptor is released even if the call fails or the host is dead."""
        if self.dead:
            return
        handle = self._handle(fd)
        self._let_go(fd)
        self._call("close", handle.path, lambda _: None, failed=lambda disk: disk.drop(handle.ino))

    def rename(self, src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """See `FileSystem.rename`."""
        self._move("rename", src, dst, src_dir_fd, dst_dir_fd)

    def rename_noreplace(self, src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """See `FileSystem.rename_noreplace`."""
        self._move("rename_noreplace", src, dst, src_dir_fd, dst_dir_fd)

    def _move(self, kind: str, src: str, dst: str, src_dir_fd: int, dst_dir_fd: int) -> None:
        src_dir, src_path = self._where(src_dir_fd, src)
        dst_dir, dst_path = self._where(dst_dir_fd, dst)
        replace = kind == "rename"

        def act(disk: Disk) -> int:
            self._check_name(dst)
            ino = self._lookup(disk, self._into(disk, src_dir), src).ino
            self._remember(dst_dir, dst, None)  # as Linux does; corrected below if all went well
            if self._odd and not self.profile.link_across:  # healed: both names are there
                disk.link(src_dir, src, self._into(disk, dst_dir), dst)
                return ino
            disk.rename(src_dir, src, self._into(disk, dst_dir), dst, replace)
            if disk is self.server.disk:
                self.server.renamed(src_dir, dst_dir)
            return ino

        def late(disk: Disk) -> None:
            disk.rename(src_dir, src, dst_dir, dst, replace)

        if not replace and self.profile.noreplace:
            raise fail(self.profile.noreplace)
        ino = self._call(kind, f"{src_path} -> {dst_path}", act, changes=True, late=late)
        self._names.pop((src_dir, src), None)
        self._remember(dst_dir, dst, ino)
        self._listings.pop(src_dir, None)
        self._listings.pop(dst_dir, None)

    def link(self, src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """See `FileSystem.link`."""
        src_dir, src_path = self._where(src_dir_fd, src)
        dst_dir, dst_path = self._where(dst_dir_fd, dst)
        refused = self.profile.link_within if src_dir == dst_dir else self.profile.link_across

        def act(disk: Disk) -> None:
            self._check_name(dst)
            if refused:
                raise fail(refused, dst)
            disk.link(self._into(disk, src_dir), src, self._into(disk, dst_dir), dst)

        self._call("link", f"{src_path} -> {dst_path}", act, changes=True)
        self._forget(dst_dir, dst)

    def unlink(self, name: str, *, dir_fd: int) -> None:
        """See `FileSystem.unlink`."""
        parent, full = self._where(dir_fd, name)

        def act(disk: Disk) -> None:
            ino = self._lookup(disk, parent, name).ino
            disk.unlink(self._into(disk, parent), name)
            self._unlinked.add(ino)

        self._call("unlink", full, act, changes=True)
        self._forget(parent, name)

    def mkdir(self, name: str, dir_fd: int | None = None) -> None:
        """See `FileSystem.mkdir`."""
        parent, name, full = self._parent(name, dir_fd)
        ino = self.server.new_ino()

        def act(disk: Disk) -> None:
            self._check_name(name)
            disk.create(self._into(disk, parent(disk)), name, ino, stat.S_IFDIR, 0o700)

        self._call("mkdir", full, act, changes=True)
        self._forget(parent(self._disk()), name)

    def rmdir(self, name: str, dir_fd: int | None = None) -> None:
        """See `FileSystem.rmdir`."""
        parent, name, full = self._parent(name, dir_fd)
        self._call("rmdir", full, lambda disk: disk.rmdir(self._into(disk, parent(disk)), name), changes=True)
        self._forget(parent(self._disk()), name)

    def listdir(self, dir_fd: int) -> list[str]:
        """See `FileSystem.listdir`."""
        handle = self._handle(dir_fd)
        ino = handle.ino

        def act(disk: Disk) -> list[str]:
            cached = self._listings.get(ino)
            if cached and cached[1] > self.server.now:
                return cached[0]
            directory = disk.directory(self._into(disk, ino, errno.EIO))
            if self._odd and not self._odd.quiet:
                directory.mtime = self._stamp()  # the omitted name is being renamed now
            self._attributes.pop(ino, None)
            names = list(directory.entries)
            if self.profile.listing:
                self._listings[ino] = (names, self.server.now + self.profile.listing)
            for key in [key for key, (child, _) in self._names.items() if key[0] == ino and child is None]:
                del self._names[key]
            return names

        names = self._call("listdir", handle.path, act)
        hidden = self._odd.hides if self._odd else None
        return [name for name in names if hidden is None or hidden not in name]

    def stat(self, name: str, dir_fd: int) -> os.stat_result:
        """See `FileSystem.stat`."""
        parent, full = self._where(dir_fd, name)
        return self._call("stat", full, lambda disk: self._stat(self._lookup(disk, parent, name), full))

    def fstat(self, fd: int) -> os.stat_result:
        """See `FileSystem.fstat`."""
        handle = self._handle(fd)
        return self._call("fstat", handle.path, lambda disk: self._stat(disk.nodes[handle.ino], handle.path))

    def readlink(self, name: str, dir_fd: int) -> str:
        """See `FileSystem.readlink`."""
        parent, full = self._where(dir_fd, name)

        def act(disk: Disk) -> str:
            node = self._lookup(disk, parent, name)
            if node.kind != stat.S_IFLNK:
                raise fail(errno.EINVAL, name)
            return os.fsdecode(node.data)

        return self._call("readlink", full, act)

    def chmod(self, fd: int, mode: int) -> None:
        """See `FileSystem.chmod`."""
        handle = self._handle(fd)

        def act(disk: Disk) -> None:
            disk.nodes[handle.ino].mode = mode

        self._call("chmod", handle.path, act, changes=True)

    def utime(self, name: str, dir_fd: int, mtime_ns: int) -> None:
        """See `FileSystem.utime`."""
        parent, full = self._where(dir_fd, name)

        def act(disk: Disk) -> None:
            node = self._lookup(disk, parent, name)
            node.mtime = node.atime = mtime_ns
            self._attributes.pop(node.ino, None)

        self._call("utime", full, act, changes=True)

    # -- the machine ----------------------------------------------------------------------

    def mount(self, fd: int) -> Mount:  # noqa: ARG002
        """See `FileSystem.mount`. The whole server is one mount."""
        return Mount(self.profile.fstype, "server:/", "rw", "/")

    def time_ns(self) -> int:
        """See `FileSystem.time_ns`: the server's time plus this host's `clock_offset`."""
        return int((EPOCH + self.server.now + self.clock_offset) * 1e9)

    def monotonic(self) -> float:
        """See `FileSystem.monotonic`."""
        return self.server.now - self._booted

    def boottime(self) -> float:
        """See `FileSystem.boottime`; these hosts never sleep."""
        return self.server.now - self._booted

    def random(self, size: int) -> bytes:
        """See `FileSystem.random`: from the seed and the host's name."""
        return self._random.randbytes(size)
