"""Reading a Maildir while others deliver into it, read it and move its messages.

A message is identified by its key, which never changes. Listings show where it is and which flags it
has. If a name has gone between a listing and the next call, the directories are listed again. A message
counts as missing only if two fresh listings do not show it.
"""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from maildir_safe._fs.quirks import quirks
from maildir_safe._handoff.listing import stable_listing
from maildir_safe._handoff.rename import DONE, GONE, UNKNOWN, close_quietly
from maildir_safe._handoff.seals import holds_directory
from maildir_safe._maildir.listed import Listed, difference, doubtful
from maildir_safe._maildir.message_file import whole
from maildir_safe._names import flags_of, may_be_message, size_of, split, with_flags
from maildir_safe.errors import TemporaryError, UnknownOutcome, storage_error

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator
    from typing import BinaryIO, TypeVar

    from maildir_safe._fs import FileSystem
    from maildir_safe._handoff.rename import Handoff, Outcome
    from maildir_safe._maildir.directories import OpenDirectories

    T = TypeVar("T")

_LOOKS = 5
# errors for a directory, a link, a socket or a device in place of a message
_NO_FILE = {errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EPERM, errno.ENOTDIR}


class Message:
    """A message as a listing showed it; the file was not opened.

    Attributes:
        key: its name without flags, which `Maildir.open` and other methods take.
        subdir: ``"new"`` or ``"cur"``.
        name: the file's name.
    """

    __slots__ = ("key", "name", "subdir")

    def __init__(self, subdir: str, name: str) -> None:
        self.subdir = subdir
        self.name = name
        self.key = split(name)[0]

    @property
    def flags(self) -> str:
        """Its flags, such as ``"RS"`` (replied, seen); a message in new/ has none."""
        return flags_of(split(self.name)[1])

    @property
    def size(self) -> int | None:
        """Its size in bytes as given in its name (``,S=``), or None."""
        return size_of(self.name)

    def __repr__(self) -> str:
        return f"Message({self.subdir}/{self.name})"


class Listing:
    """The messages that one listing showed: an iterator that makes each `Message` when it is asked for.

    Attributes:
        new, cur: the names in new/ and cur/ by key, not to be changed. A message that moved during the
            listing may be in both; that in new/ counts.
    """

    def __init__(self, new: dict[str, str], cur: dict[str, str]) -> None:
        self.new, self.cur = new, cur
        self._rest = self._each()

    def __iter__(self) -> Listing:
        return self

    def __next__(self) -> Message:
        return next(self._rest)

    def _each(self) -> Iterator[Message]:
        for name in self.new.values():
            yield Message("new", name)
        for key, name in self.cur.items():
            if key not in self.new:
                yield Message("cur", name)


class MessageStore:
    """Lists, opens, flags, moves and removes the messages of one Maildir. Thread-safe.

    Args:
        fs: the file system's calls.
        path: the Maildir, for error messages.
        directories: returns the open directories; called with True, it reopens them first.
        handoff: makes the renames.
        separator: returns the separator that this mount accepts in names.
    """

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        directories: Callable[[bool], OpenDirectories],
        handoff: Handoff,
        separator: Callable[[], str],
    ) -> None:
        self._fs = fs
        self._path = path
        self._directories = directories
        self._handoff = handoff
        self._separator = separator
        self._renamed: dict[str, Message | None] = {}  # since the last listing
        self._listed = {subdir: Listed([], set()) for subdir in ("new", "cur")}

    def messages(self, unchanged: Container[str] = ()) -> Listing:
        """Return all messages, those in new/ first, each key once.

        A message that appears or moves during the listing is returned once or not at all; a new listing
        shows it. See `Maildir.messages`.
        """
        return self._listing(self._directories(False), unchanged)

    def stamp(self) -> tuple[int, int]:
        """Return the modification times of new/ and cur/ in nanoseconds; see `Maildir.stamp`."""
        dirs = self._directories(False)
        try:
            return self._fs.fstat(dirs.new).st_mtime_ns, self._fs.fstat(dirs.cur).st_mtime_ns
        except OSError as error:
            raise storage_error(f"stat {self._path}", error) from error

    def find(self, key: str) -> Message:
        """Return where a message is now, from a fresh listing.

        Raises:
            KeyError: there is no such message.
            TemporaryError: a directory cannot be listed.
        """
        return self._on(key, lambda _, message: message, fresh=True)

    def open(self, key: str) -> BinaryIO:
        """Open a message as a binary file. A read raises OSError rather than end the file early.

        Raises:
            KeyError: there is no such message.
            TemporaryError: it cannot be opened or listed.
            PermanentError: it is damaged: shorter than its name says, and not compressed.
        """
        return self._on(key, self.open_file)

    def open_file(self, dirs: OpenDirectories, message: Message) -> BinaryIO:
        """Open a listed message for reading.

        Raises:
            FileNotFoundError: it has moved.
            IsADirectoryError: it is not a file.
            OSError: it cannot be opened.
            PermanentError: it is damaged: shorter than its name says, and not compressed.
        """
        directory = dirs.fd(message.subdir)
        try:
            fd = self._fs.open(message.name, directory)
        except OSError as error:
            if error.errno in _NO_FILE and not self._is_file(message.name, directory):
                raise IsADirectoryError(errno.EISDIR, "not a file", message.name) from error
            raise
        try:
            facts = self._fs.fstat(fd)
            if stat.S_ISREG(facts.st_mode):
                return whole(self._fs.reader(fd), facts.st_size, message.size)
        except BaseException:
            close_quietly(self._fs, fd)
            raise
        close_quietly(self._fs, fd)
        raise IsADirectoryError(errno.EISDIR, "not a file", message.name)

    def stamp_of(self, message: Message) -> tuple[int, int]:
        """Return size and modification time of a listed message's file; see `Maildir.stamp_of`."""
        try:
            facts = self._fs.stat(message.name, self._directories(False).fd(message.subdir))
        except OSError:
            return 0, 0
        return facts.st_size, facts.st_mtime_ns

    def set_flags(self, key: str, flags: str) -> Message:
        """Give a message exactly these flags; it is in cur/ afterwards.

        Args:
            flags: letters as in maildir(5): D draft, F flagged, P passed, R replied, S seen,
                T trashed; lower-case letters are keywords.

        Raises:
            KeyError: there is no such message.
            ValueError: a flag is not an ASCII letter.
            TemporaryError: the flags were not changed.
            UnknownOutcome: the flags may or may not have changed; the message still exists.
        """
        with_flags(key, flags, ":")  # refuse an invalid flag whether or not the message exists

        def change(dirs: OpenDirectories, message: Message) -> Message:
            name = with_flags(key, flags, self._separator(), split(message.name)[1])
            if (message.subdir, message.name) != ("cur", name):
                self.rename(dirs, message, dirs, name)
            elif name not in self._fs.listdir(dirs.cur):  # the last listing showed it
                raise FileNotFoundError(errno.ENOENT, "changed by another", name)
            return Message("cur", name)

        return self._on(key, change)

    def move(self, key: str, target: OpenDirectories, name: str | None = None) -> None:
        """Move a message with its flags into another Maildir's cur/.

        Args:
            key: the message's key.
            target: the other Maildir's open directories.
            name: its key there; None keeps the key.

        Raises:
            KeyError, TemporaryError, UnknownOutcome: as `Maildir.move`.
        """

        def carry(dirs: OpenDirectories, message: Message) -> None:
            info = split(message.name)[1] or with_flags("", "", self._separator())
            self.rename(dirs, message, target, (name or key) + info)

        self._on(key, carry)

    def discard(self, key: str) -> bool:
        """Remove a message; return False if there was none.

        Raises:
            TemporaryError: it could not be removed.
        """
        try:
            self._on(key, lambda dirs, message: self._fs.unlink(message.name, dir_fd=dirs.fd(message.subdir)))
        except KeyError:
            return False
        return True

    def rename(
        self, dirs: OpenDirectories, message: Message, target: OpenDirectories, name: str, subdir: str = "cur"
    ) -> None:
        """Rename a message into `subdir` of `target` and make that durable.

        Others may rename the same message at the same time, so this is a claim and not a publication.

        Raises:
            FileNotFoundError: another was first; the caller must look again.
            TemporaryError: the message was not renamed.
            UnknownOutcome: it may have been renamed, or the rename may not be durable.
        """
        outcome = self._handoff.claim(dirs.fd(message.subdir), message.name, target.fd(subdir), name, True)
        if outcome.kind == GONE or not self._was_done(outcome, target.fd(subdir), name):
            raise FileNotFoundError(errno.ENOENT, "moved by another", message.name)
        error = outcome.error or OSError(errno.EIO, "no error was given")
        if outcome.kind != DONE:
            kind = UnknownOutcome if outcome.kind == UNKNOWN else TemporaryError
            raise kind(
                str(storage_error(f"rename {self._path}/{message.subdir}/{message.name} to {name}", error))
            )
        self._renamed[message.key] = None
        if target is dirs:
            self._renamed[split(name)[0]] = Message(subdir, name)
        try:
            if quirks(dirs.fstype).old_names_return and dirs.fd(message.subdir) != target.fd(subdir):
                # otherwise a crash may leave both names (tests/crash/test_disk_replay.py)
                dirs.sync[message.subdir].sync()
            target.sync[subdir].sync()
        except OSError as failed:
            raise UnknownOutcome(str(storage_error(f"fsync {self._path}/{subdir}", failed))) from failed

    def _was_done(self, outcome: Outcome, directory: int, name: str) -> bool:
        """Return False if the outcome DONE is wrong because a look-up showed an earlier name of the message.

        Unlike a destination that is used once, a message's name returns when its flags return.
        """
        if outcome.kind != DONE or outcome.error is None:
            return True
        try:
            # a name missing from one listing proves nothing
            return name in self._fs.listdir(directory) or name in self._fs.listdir(directory)
        except OSError as error:
            raise UnknownOutcome(str(storage_error(f"look for {name}", error))) from error

    def _on(self, key: str, action: Callable[[OpenDirectories, Message], T], fresh: bool = False) -> T:
        """Apply `action` to a message wherever it is now. If `fresh`, do not use earlier listings."""
        missed = 0
        reopen = False
        for _ in range(_LOOKS):
            dirs = self._directories(reopen)
            message = None if fresh else self._known(key)
            if message is None:
                self._listing(dirs)
                message = self._known(key)
            if message is None:
                missed += 1
                if missed == 2:  # a name missing from one listing proves nothing
                    raise KeyError(key)
                continue
            try:
                return action(dirs, message)
            except OSError as error:
                if error.errno in _NO_FILE and not self._is_file(message.name, dirs.fd(message.subdir)):
                    self._set_aside(message)  # its name only looks like a message's
                elif error.errno not in (errno.ENOENT, errno.ESTALE):
                    from maildir_safe._maildir.conflict import unusable

                    where = f"{self._path}/{message.subdir}/{message.name}"
                    raise unusable(self._fs, where, dirs.fd(message.subdir), error) from error
                reopen = error.errno == errno.ESTALE
                fresh = True
        raise TemporaryError(f"{self._path}: the message {key} keeps moving; try again")

    def _known(self, key: str) -> Message | None:
        """Where a message was when it was last listed or renamed."""
        if key in self._renamed:
            return self._renamed[key]
        for subdir in ("new", "cur"):
            name = self._listed[subdir].by_key.get(key)
            if name is not None:
                return Message(subdir, name)
        return None

    def _listing(self, dirs: OpenDirectories, unchanged: Container[str] = ()) -> Listing:
        """List both directories."""
        try:
            self._fs.stat("tmp", dirs.root)  # before new/: see `OpenDirectories`
            new, cur = self._list("new", dirs.new, unchanged), self._list("cur", dirs.cur, unchanged)
        except OSError as error:
            raise storage_error(f"list {self._path}", error) from error
        self._renamed = {}
        return Listing(new.by_key, cur.by_key)

    def _list(self, subdir: str, fd: int, unchanged: Container[str]) -> Listed:
        """List one directory. Only names that appeared or disappeared are processed, since most stay."""
        before = self._listed[subdir]
        if subdir in unchanged and not before.strays:
            return before
        names = self._fs.listdir(fd)
        if names == before.names and not before.strays:
            return before
        names = stable_listing(self._fs, fd, names)
        look_at_all = holds_directory(self._fs, fd)
        come, gone = difference(before.names, names) if before.names else (names, set[str]())
        to_check = {*(come if look_at_all else doubtful(come))} | (before.strays - gone)
        unfit = {name for name in to_check if not may_be_message(name)}
        strays = {name for name in to_check - unfit if not self._is_file(name, fd)}
        if to_check:
            come = ({*come} | to_check) - unfit - strays
        listed = before.changed(names, strays, come, gone)
        self._listed[subdir] = listed  # assigned when complete, since other threads read it
        return listed

    def _is_file(self, name: str, fd: int) -> bool:
        """Report whether a name is a file. A Coda conflict (a link) counts, so that opening it reports it."""
        try:
            mode = self._fs.stat(name, fd).st_mode
            return stat.S_ISREG(mode) or (stat.S_ISLNK(mode) and self._fs.readlink(name, fd).startswith("@"))
        except FileNotFoundError:
            return False

    def _set_aside(self, message: Message) -> None:
        """Move a listed name to the strays: its type had not been checked before."""
        self._listed[message.subdir] = self._listed[message.subdir].without(message.name)
