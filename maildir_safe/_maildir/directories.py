"""Creates the three directories of a Maildir, opens them in the right order, and holds them open."""

from __future__ import annotations

import errno
import os.path
import stat

from maildir_safe._fs.quirks import quirks
from maildir_safe._handoff.group_commit import DirectorySync
from maildir_safe._handoff.rename import close_quietly, remove_quietly
from maildir_safe._handoff.small_files import make_directory
from maildir_safe._names import split, with_flags
from maildir_safe.errors import NotAMaildir, storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from maildir_safe._fs import FileSystem

SUBDIRS = ("tmp", "new", "cur")  # tmp/ first: see `OpenDirectories`
_NOT_THE_NAME = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ESTALE}


_CONFLICT = "a conflict looks like this: repair it with the file system's tools"
_MAY_MEAN = {
    errno.ENOENT: "a conflict or a lost mount looks like this: see to it, then mkdir",
    errno.ELOOP: _CONFLICT,  # Coda's first answer, before it shows the link
    errno.ENOTDIR: _CONFLICT,
}


class Descriptor(int):
    """The descriptor of an open directory, which is closed when the last reference to this number is dropped.

    Whoever has the number can use it, however short the life of the object that it came from.
    """

    _fs: FileSystem

    @classmethod
    def of(cls, fs: FileSystem, fd: int) -> Descriptor:
        """Return `fd`, just opened with `fs`, as a number that closes it."""
        self = cls(fd)
        self._fs = fs
        return self

    def __del__(self) -> None:
        if "_fs" in self.__dict__:
            close_quietly(self._fs, int(self))


class OpenDirectories:
    """Descriptors of a Maildir and of its tmp/, new/ and cur/, each closed with its last reference.

    They are opened in the order tmp/, new/, cur/: on Coda, resolving new/ before tmp/ after a server was
    down puts both in conflict (docs/reference/file-systems.md, "Coda").

    Args:
        fs: the file system's calls.
        path: the Maildir.
        inside: it is a folder of another Maildir, so no symbolic link in its place is followed.

    Attributes:
        root, tmp, new, cur: descriptors.
        sync: the shared fsync of new and of cur, by name.
        opened: the time of opening on the MONOTONIC clock, in seconds.
        mount: the mount that holds new/.
        fstype: its type, as named in /proc/self/mountinfo.

    Raises:
        NotAMaildir: one of the four cannot be opened.
    """

    def __init__(self, fs: FileSystem, path: str, inside: bool = False) -> None:
        self._fs = fs
        self.opened = fs.monotonic()
        self.root: int = self._open_inside(path) if inside else self._open_one(path, path)
        self.tmp: int
        self.new: int
        self.cur: int
        self.tmp, self.new, self.cur = (self._open_one(name, path, self.root) for name in SUBDIRS)
        self.sync = {"new": DirectorySync(fs, self.new), "cur": DirectorySync(fs, self.cur)}
        self.mount = fs.mount(self.new)
        self.fstype = self.mount.fstype

    def _open_inside(self, path: str) -> Descriptor:
        """Open the directory at `path`, which others may have replaced by a symbolic link."""
        above, _, name = path.rpartition("/")
        return self._open_one(name, above, self._open_one(above, above))

    def _open_one(self, name: str, path: str, root: int | None = None) -> Descriptor:
        try:
            fd = self._fs.open_dir(name, root)
        except OSError as error:
            where = path if root is None else f"{path}/{name}"
            raise NotAMaildir(_complaint(self._fs, where, name, root, error)) from error
        return Descriptor.of(self._fs, fd)

    def moved_on(self, name: str) -> bool:
        """Report whether a message published as `name` is present, with any flags. May raise OSError."""
        key = split(name)[0]
        return any(split(other)[0] == key for fd in (self.new, self.cur) for other in self._fs.listdir(fd))

    def fd(self, subdir: str) -> int:
        """Return the descriptor of ``"tmp"``, ``"new"`` or ``"cur"``."""
        return {"tmp": self.tmp, "new": self.new, "cur": self.cur}[subdir]

    @property
    def durability(self) -> str:
        """The best durability that the mount can promise, as one of `receipt.DURABILITY_LEVELS`."""
        return quirks(self.fstype).durability


def _complaint(fs: FileSystem, where: str, name: str, root: int | None, error: OSError) -> str:
    """Return why a directory cannot be opened; a Coda conflict is a dangling link ``@volume.vnode…``."""
    reason = f"{error.strerror} [{errno.errorcode.get(error.errno or 0, '?')}]"
    if root is None:
        if error.errno == errno.ENOENT:
            return f"{where}: there is no such Maildir, and creating it was not requested"
        return f"{where}: {reason}; {_MAY_MEAN.get(error.errno or 0, 'not a Maildir that can be used')}"
    from maildir_safe._maildir.conflict import in_conflict, link_target, unusable

    if in_conflict(fs, name, root):
        return str(unusable(fs, where, root, error))
    if link_target(fs, name, root):
        return f"{where}: {reason}; it is a symbolic link, and links below a Maildir are not followed"
    try:
        there = {*SUBDIRS} & {*fs.listdir(root)}
    except OSError:
        there = {name}
    if not there:
        return f"{where.rpartition('/')[0]} is not a Maildir: it has none of tmp/, new/ and cur/"
    return f"{where}: {reason}; {_MAY_MEAN.get(error.errno or 0, 'not a Maildir that can be used')}"


def make(fs: FileSystem, path: str, subdirs: Sequence[str] = SUBDIRS, files: Sequence[str] = ()) -> None:
    """Make a Maildir, or another directory with `subdirs` and empty `files`, if nothing exists at `path`.

    It is made under a temporary name and then renamed, so that a crash leaves all of it or nothing.
    An existing empty directory, such as the root of a mount, is filled in place. The directory above
    must exist: otherwise a Maildir could be made below a share's mount point while it is not mounted.

    Raises:
        NotAMaildir: it can be neither opened nor made; the message says why.
    """
    try:
        root = fs.open_dir(path)
    except FileNotFoundError:
        _make_aside(fs, path, subdirs, files)
        return
    except OSError as error:
        raise NotAMaildir(f"{path}: cannot be opened: {error.strerror}") from error
    try:
        names = fs.listdir(root)
        if not {*subdirs} & {*names}:
            ours = ("lost+found", *files)
            strange = sorted(name for name in names if not name.startswith(".") and name not in ours)
            if strange:
                raise NotAMaildir(f"{path}: something else is there ({strange[0]}); name a new directory")
            _fill(fs, root, subdirs, files)
        _sync_above(fs, path)
    except OSError as error:
        raise NotAMaildir(f"{path}: cannot be listed or made: {error.strerror}") from error
    finally:
        close_quietly(fs, root)


def _sync_above(fs: FileSystem, path: str) -> None:
    """Make a Maildir's own name durable, since the process that made it may have died before doing so."""
    try:
        above = fs.open_dir(os.path.dirname(os.path.abspath(path)))
    except PermissionError:
        return  # we could not have made it either: an administrator did, long ago
    try:
        DirectorySync(fs, above).sync()
    finally:
        close_quietly(fs, above)


def _make_aside(fs: FileSystem, path: str, subdirs: Sequence[str], files: Sequence[str]) -> None:
    parent, name = os.path.split(os.path.abspath(path))
    try:
        above = fs.open_dir(parent)
    except OSError as error:
        raise NotAMaildir(f"{path}: cannot be made, {parent}: {error.strerror}") from error
    try:
        _make_in(fs, above, name, subdirs, files)
    except OSError as error:
        raise NotAMaildir(f"{path}: cannot be made: {error.strerror}") from error
    finally:
        close_quietly(fs, above)


def _make_in(fs: FileSystem, above: int, name: str, subdirs: Sequence[str], files: Sequence[str]) -> None:
    aside = f"{aside_prefix(name)}{fs.random(8).hex()}"
    fs.mkdir(aside, above)
    root = fs.open_dir(aside, above)
    try:
        try:
            _fill(fs, root, subdirs, files)
        except OSError:
            discard(fs, root, above, aside, subdirs, files)
            raise
        try:
            fs.rename(aside, name, src_dir_fd=above, dst_dir_fd=above)
        except OSError:
            there = fs.listdir(above)
            if name not in there:  # otherwise the reply was lost
                raise
            # or another process made it at the same time; a rename may also have left both names of ours
            if aside in there and not leads_to(fs, name, above, root):
                discard(fs, root, above, aside, subdirs, files)
    finally:
        close_quietly(fs, root)
    DirectorySync(fs, above).sync()


def _fill(fs: FileSystem, root: int, subdirs: Sequence[str], files: Sequence[str]) -> None:
    for subdir in subdirs:
        close_quietly(fs, make_directory(fs, subdir, root))
    for name in files:
        try:
            close_quietly(fs, fs.create(name, root))
        except FileExistsError:
            pass
    DirectorySync(fs, root).sync()


def aside_prefix(name: str) -> str:
    """Return the prefix of the temporary names under which a Maildir called `name` is made."""
    return f".{name[:100]}."


def leads_to(fs: FileSystem, name: str, above: int, fd: int) -> bool:
    """Report whether a name leads to the directory that is open as `fd`; True if that cannot be found out.

    An unfinished directory must not be emptied if its final name leads to it too.
    """
    try:
        there, ours = fs.stat(name, above), fs.fstat(fd)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def discard(
    fs: FileSystem, root: int, above: int, aside: str, subdirs: Sequence[str], files: Sequence[str]
) -> None:
    """Remove an unfinished Maildir as far as possible; an empty directory with a dot name may be left."""
    for name in files:
        remove_quietly(fs, root, name)
    for name, fd in (*((subdir, root) for subdir in subdirs), (aside, above)):
        try:
            fs.rmdir(name, fd)
        except OSError:
            pass


def subdirectories(fs: FileSystem, dir_fd: int) -> list[str]:
    """Return the names of the directories, and of links to directories, in a directory.

    Raises:
        OSError: the directory cannot be listed.
    """
    return [name for name in fs.listdir(dir_fd) if _is_directory(fs, name, dir_fd)]


def _is_directory(fs: FileSystem, name: str, dir_fd: int) -> bool:
    try:
        mode = fs.stat(name, dir_fd).st_mode
        if stat.S_ISLNK(mode):
            close_quietly(fs, fs.open_dir(name, dir_fd))
            return True
        return stat.S_ISDIR(mode)
    except OSError:
        return False


def has_file(fs: FileSystem, name: str, root: int, path: str) -> bool:
    """Report whether a Maildir has a file of this name.

    Raises:
        TemporaryError: the file cannot be examined.
    """
    try:
        fs.stat(name, root)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise storage_error(f"read {path}/{name}", error) from error
    return True


def find_separator(fs: FileSystem, tmp: int, fstype: str) -> str:
    """Return the first of ``:`` and ``;`` that the mount accepts in names (vfat, exFAT and SMB refuse ``:``).

    Raises:
        OSError: the mount refuses both, or cannot be written to at all.
    """
    if not quirks(fstype).colon:
        return ";"
    stem = ".separator." + fs.random(8).hex()
    try:
        _touch(fs, tmp, with_flags(stem, "", ":"))
        return ":"
    except OSError as error:
        if error.errno in _NOT_THE_NAME:
            raise
    _touch(fs, tmp, with_flags(stem, "", ";"))
    return ";"


def _touch(fs: FileSystem, tmp: int, name: str) -> None:
    close_quietly(fs, fs.create(name, tmp))
    remove_quietly(fs, tmp, name)
