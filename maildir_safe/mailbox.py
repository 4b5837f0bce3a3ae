"""A drop-in for the standard library's `mailbox.Maildir` that hands messages over by rename() alone.

>>> from maildir_safe.mailbox import Maildir      # instead of: from mailbox import Maildir

It is a subclass of the original, with the methods of Python 3.13 on 3.11 and later. `add` returns
when the message is durable, nothing is ever linked, and CPython's own tests of `mailbox.Maildir`
pass (tests/compat/). On purpose it differs in these:

* `add` and ``box[key] = message`` raise `maildir_safe.TemporaryError` or `UnknownOutcome` where the
  original raises OSError: they tell what the caller still owns. So does a Maildir that lacks one of
  tmp/, new/ and cur/, at once: the original makes do until it needs it.
* ``box[key] = message`` replaces by one rename. The original has the new message visible beside the
  old one, then removes the old one, then renames.
* `clean` judges age by the time of the last write and the server's clock, not by the time of the
  last access and this host's clock: backups renew that time, and hosts' clocks differ. This is the
  one test of CPython's (`test_clean`) that does not apply.
* `remove_folder` refuses a folder whose tmp/ still holds a file that `clean` leaves alone: it may be
  a message that is just being delivered. The original deletes it.
* `colon` becomes ``;`` by itself, as soon as a flag is to be written, where the mount refuses ``:``.
  Names are read with either.
* Keys hold random bits. `_create_tmp` is the original's and `add` does not use it.
* `get_file` returns an ordinary binary file.

As in the original, folder names are taken as they are: `maildir_safe.Maildir` encodes them as IMAP
servers do. A message is held in memory by `add`; `maildir_safe.Maildir.deliver` takes streams.
"""

from __future__ import annotations

import errno
import io
import mailbox
import os
import re
import stat
import time
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

from maildir_safe._delivery.content import chunks
from maildir_safe._delivery.job import DeliveryJob
from maildir_safe._handoff.rename import close_quietly
from maildir_safe._maildir import maildir
from maildir_safe._maildir.directories import SUBDIRS
from maildir_safe._maildir.message_store import Message
from maildir_safe._names import SEPARATORS, UniqueNames, host_token
from maildir_safe.errors import NotAMaildir, TemporaryError, storage_error

__all__ = ["Maildir"]

_LOOKS = 5

T = TypeVar("T")


class Maildir(mailbox.Maildir):
    """A Maildir with the interface of the standard library's; see `mailbox.Maildir`.

    Args:
        dirname: the Maildir; ``~`` is the home directory.
        factory: makes what ``box[key]`` returns from a binary file; None for `mailbox.MaildirMessage`.
        create: make it if nothing is there; the directory above it must exist.

    Raises:
        mailbox.NoSuchMailboxError: it does not exist, and `create` is False.
        NotAMaildir: it cannot be made, or something is wrong with it.
    """

    def __init__(
        self,
        dirname: str | os.PathLike[str],
        factory: Callable[[Any], Any] | None = None,
        create: bool = True,
    ) -> None:
        path = os.path.abspath(os.path.expanduser(dirname))
        try:
            self._store = _Store(path, create)
        except NotAMaildir as error:
            if create or not isinstance(error.__cause__, FileNotFoundError):
                raise
            raise mailbox.NoSuchMailboxError(path) from error
        super().__init__(path, factory, create=False)
        self._toc_mtimes = {"new": 0.0, "cur": 0.0}
        self._skewfactor = 0.1

    # Changing

    def add(self, message: Any) -> str:
        """Add a message, durably, and return its key.

        Args:
            message: as for the original: bytes, ASCII str, an `email.message.Message` or a binary
                file. A `mailbox.MaildirMessage` brings its directory, info and date.

        Raises:
            TemporaryError: not added, and nothing is left of it.
            UnknownOutcome: added or not.
        """
        data = io.BytesIO()
        self._dump_message(message, data)
        key = self._store.names.new([""])[0]
        subdir, suffix, mtime_ns = self._wishes(message, "new", "")
        self._store.put(data.getvalue(), subdir, key + suffix, mtime_ns)
        return key

    def __setitem__(self, key: str, message: Any) -> None:
        """Replace the message with this key, which it keeps; its flags too, if the new one has none to say.

        Raises:
            KeyError: there is none. TemporaryError: not replaced. UnknownOutcome: replaced or not;
            in any case the old message is there, or the new one.
        """
        data = io.BytesIO()
        old = self._on(key, lambda found: found)
        self._dump_message(message, data)
        suffix = self._suffix(self._split(old.name)[1])
        subdir, suffix, mtime_ns = self._wishes(message, old.subdir, suffix)
        self._rename(key, subdir, key + suffix)  # then replace: at no time are there two, or none
        self._store.put(data.getvalue(), subdir, key + suffix, mtime_ns, replaces=True)

    def remove(self, key: str) -> None:
        """Remove the message with this key; KeyError if there is none."""
        self._on(key, self._store.unlink)

    def set_info(self, key: str, info: str) -> None:
        """Set the text after the colon in the message's name; KeyError if there is no such message.

        Raises:
            TypeError, ValueError: not text; a slash in it.
            TemporaryError: not changed. UnknownOutcome: changed or not; the message is there.
        """
        if not isinstance(info, str):
            raise TypeError(f"info must be a string: {type(info)}")
        self._rename(key, None, key + self._suffix(info))

    def set_flags(self, key: str, flags: str) -> None:
        """Give the message exactly these flags, such as ``"RS"``; errors as for `set_info`."""
        if not isinstance(flags, str):
            raise TypeError(f"flags must be a string: {type(flags)}")
        self.set_info(key, "2," + "".join(sorted(set(flags))))

    def add_flag(self, key: str, flag: str) -> None:
        """Set these flags besides those that are set; errors as for `set_info`."""
        if not isinstance(flag, str):
            raise TypeError(f"flag must be a string: {type(flag)}")
        self.set_flags(key, self.get_flags(key) + flag)

    def remove_flag(self, key: str, flag: str) -> None:
        """Unset these flags; errors as for `set_info`."""
        if not isinstance(flag, str):
            raise TypeError(f"flag must be a string: {type(flag)}")
        flags = self.get_flags(key)
        if flags:
            self.set_flags(key, "".join(set(flags) - set(flag)))

    def clean(self) -> None:
        """Remove what interrupted deliveries left in tmp/ 36 hours ago or earlier."""
        self._store.clean()

    def close(self) -> None:
        """Let go of the directories, so that the mount can be taken down; the next call opens them anew."""
        self._store.close()

    # Reading

    def get_message(self, key: str) -> Any:
        """The message as a `mailbox.MaildirMessage`, or what the factory makes of it; or KeyError."""
        found, file = self._on(key, lambda found: (found, self._store.open_file(found)))
        make: Callable[[Any], Any] = self._factory or mailbox.MaildirMessage
        with file:
            message = make(file)
            message.set_date(self._store.date(file))
        message.set_subdir(found.subdir)
        info = self._split(found.name)[1]
        if info:
            message.set_info(info)
        return message

    def get_bytes(self, key: str) -> bytes:
        """The message as it is stored; KeyError if there is none."""
        with self.get_file(key) as file:
            return file.read()

    def get_file(self, key: str) -> BinaryIO:  # type: ignore[override] # more than the original's _ProxyFile
        """The message as a binary file, to be closed by the caller; KeyError if there is none."""
        return self._on(key, self._store.open_file)

    def get_info(self, key: str) -> str:
        """The text after the colon in the message's name; KeyError if there is no such message."""
        return self._split(self._lookup(key))[1]

    def get_flags(self, key: str) -> str:
        """The message's flags, such as ``"RS"``; KeyError if there is no such message."""
        info = self.get_info(key)
        return info[2:] if info.startswith("2,") else ""

    # Folders

    def list_folders(self) -> list[str]:
        """The names of all folders, as their directories are named."""
        return [name[1:] for name in self._store.directories() if re.match(r"\.[^.]", name)]

    def get_folder(self, folder: str) -> Maildir:
        """A folder; `mailbox.NoSuchMailboxError` if it does not exist."""
        return Maildir(os.path.join(self._path, "." + folder), self._factory, create=False)

    def add_folder(self, folder: str) -> Maildir:
        """A folder, made if need be."""
        result = Maildir(os.path.join(self._path, "." + folder), self._factory)
        result._store.mark_as_folder()
        return result

    def remove_folder(self, folder: str) -> None:
        """Remove a folder; `mailbox.NotEmptyError` if it holds a message, a directory, or a delivery."""
        self.get_folder(folder)._store.remove(f"{folder}: not empty")

    def __getstate__(self) -> dict[str, Any]:
        """As the original, it can be handed to another process, which opens it anew."""
        return {name: value for name, value in vars(self).items() if name != "_store"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._store = _Store(self._path, create=False)

    # What the inherited methods stand on

    def _refresh(self) -> None:
        """List again, unless nothing has changed since the last time.

        The times of the directories tell; but for two seconds they may not (FAT counts in twos).
        """
        if time.monotonic() - self._last_read > 2 + self._skewfactor:
            times = self._store.times()
            changed = any(times[subdir] > self._toc_mtimes[subdir] for subdir in times)
            self._toc_mtimes = times
            if not changed:
                return
        self._list()

    def _list(self) -> None:
        self._toc = {
            self._split(found.name)[0]: f"{found.subdir}/{found.name}" for found in self._store.messages()
        }
        self._last_read = time.monotonic()

    def _lookup(self, key: str) -> str:
        """Where a message is, as ``new/…`` or ``cur/…``; KeyError if there is none."""
        if key in self._toc and self._store.has(_message(self._toc[key])):
            return self._toc[key]
        for _ in range(2):  # a name missing from one listing proves nothing
            self._list()
            if key in self._toc:
                return self._toc[key]
        raise KeyError(f"No message with key: {key}")

    def _on(self, key: str, action: Callable[[Message], T]) -> T:
        """Do something with a message wherever it is; if it has moved since it was looked up, look again."""
        for _ in range(_LOOKS):
            try:
                return action(_message(self._lookup(key)))
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ESTALE):
                    raise
                if error.errno == errno.ESTALE:
                    self._store.close()  # to open its directories anew
        raise TemporaryError(f"{self._path}: the message {key} keeps moving; try again")

    def _rename(self, key: str, subdir: str | None, name: str) -> None:
        def change(found: Message) -> None:
            target = subdir or found.subdir
            if (found.subdir, found.name) != (target, name):
                self._store.rename_to(found, target, name)
            self._toc[key] = f"{target}/{name}"

        self._on(key, change)

    def _wishes(self, message: Any, subdir: str, suffix: str) -> tuple[str, str, int | None]:
        """Directory, end of the name, and date: what the message says of itself, or the given."""
        if not isinstance(message, mailbox.MaildirMessage):
            return subdir, suffix, None
        return message.get_subdir(), self._suffix(message.get_info()), int(message.get_date() * 1e9)

    def _suffix(self, info: str) -> str:
        if "/" in info:
            raise ValueError(f"an info becomes part of a file's name, so it has no slash: {info!r}")
        if "\0" in info:
            raise ValueError(f"an info becomes part of a file's name, so it has no NUL: {info!r}")
        if info and self.colon == ":":
            self.colon = self._store.separator()
        return info and self.colon + info

    def _split(self, name: str) -> tuple[str, str]:
        """A file's name as key and info; `colon` divides them, or either usual separator."""
        marks = SEPARATORS if self.colon in SEPARATORS else re.escape(self.colon)
        key, *rest = re.split(f"[{marks}]", os.path.basename(name))
        return key, rest[-1] if rest else ""


class _Store(maildir.Maildir):
    """This package's Maildir, and what the standard library's allows beyond it: any name, place and date."""

    def __init__(self, path: str, create: bool) -> None:
        super().__init__(path, create)
        self.names = UniqueNames(self._fs, os.getpid(), host_token(os.uname().nodename))

    def put(self, data: bytes, subdir: str, name: str, mtime_ns: int | None, replaces: bool = False) -> None:
        """Deliver under a given name, a new one unless it `replaces` what has that name."""
        job = DeliveryJob(chunks(data), subdir)
        job.final = name
        job.mtime_ns = mtime_ns
        job.replaces = replaces
        self._pipeline.deliver(job)

    def rename_to(self, found: Message, subdir: str, name: str) -> None:
        """Rename, durably; FileNotFoundError if another was first."""
        dirs = self._open()
        self._reading.rename(dirs, found, dirs, name, subdir)

    def separator(self) -> str:
        """What this mount takes between a name and its info."""
        return self._open.separator()

    def unlink(self, found: Message) -> None:
        """Remove; FileNotFoundError if it has moved."""
        self._fs.unlink(found.name, dir_fd=self._open().fd(found.subdir))

    def open_file(self, found: Message) -> BinaryIO:
        """Open for reading; FileNotFoundError if it has moved."""
        return self._fs.reader(self._fs.open(found.name, self._open().fd(found.subdir)))

    def has(self, found: Message) -> bool:
        """Whether it is still where it was found."""
        try:
            self._fs.stat(found.name, self._open().fd(found.subdir))
        except FileNotFoundError:
            return False
        return True

    def date(self, file: BinaryIO) -> float:
        """When an open message was written, seconds since 1970."""
        return self._fs.fstat(file.fileno()).st_mtime

    def times(self) -> dict[str, float]:
        """When new/ and cur/ were changed, seconds since 1970."""
        dirs = self._open()
        return {subdir: self._fs.fstat(dirs.fd(subdir)).st_mtime for subdir in ("new", "cur")}

    def directories(self) -> list[str]:
        """The names of the directories in it."""
        root = self._open().root
        return [name for name in self._fs.listdir(root) if self._is_directory(name, root)]

    def mark_as_folder(self) -> None:
        """Make the file that says so (Maildir++)."""
        root = self._open().root
        if "maildirfolder" not in self._fs.listdir(root):
            self._fs.close(self._fs.create("maildirfolder", root))

    def remove(self, complaint: str) -> None:
        """Remove the whole Maildir, if it is empty.

        tmp/ goes first: once it is gone nothing can be delivered any more, and as long as it holds
        a file, which may be a message on its way, it does not go.
        """
        root = self._open().root
        self.clean()
        if any(self.messages()) or {*self.directories()} - {*SUBDIRS}:
            raise mailbox.NotEmptyError(complaint)
        removed = []
        try:
            for subdir in SUBDIRS:
                self._fs.rmdir(subdir, root)
                removed.append(subdir)
        except OSError as error:
            for subdir in removed:
                self._fs.mkdir(subdir, root)
            raise mailbox.NotEmptyError(f"{complaint} ({error.strerror})") from error
        for name in self._fs.listdir(root):
            self._fs.unlink(name, dir_fd=root)
        self._remove_root()

    def _remove_root(self) -> None:
        above, name = os.path.split(self.path)
        fd = self._fs.open_dir(above)
        try:
            self._fs.rmdir(name, fd)
        except OSError as error:
            raise storage_error(f"remove {self.path}", error) from error
        finally:
            close_quietly(self._fs, fd)

    def _is_directory(self, name: str, fd: int) -> bool:
        try:
            return stat.S_ISDIR(self._fs.stat(name, fd).st_mode)
        except FileNotFoundError:
            return False


def _message(subpath: str) -> Message:
    subdir, _, name = subpath.partition("/")
    return Message(subdir, name)
