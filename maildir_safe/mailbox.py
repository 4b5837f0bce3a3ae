"""A drop-in for the standard library's `mailbox.Maildir` that publishes messages only by rename().

>>> from maildir_safe.mailbox import Maildir      # instead of: from mailbox import Maildir

The module also exports the other names of `mailbox`. `Maildir` is a subclass of the original, with
the methods of Python 3.13 on 3.11 and later. `add` returns when the message is durable, nothing is
ever linked, and CPython's own tests of `mailbox.Maildir` pass (tests/compat/). It deliberately
differs from the original in these points:

* `add` and ``box[key] = message`` raise `maildir_safe.TemporaryError` or `UnknownOutcome` where the
  original raises OSError: they state what the caller still owns. A directory without tmp/, new/
  or cur/ can be opened, as in the original, and its folders can be used; the first look for a message
  raises `NotAMaildir`.
* A message is read completely before it is parsed. If a mount returns fewer bytes than the file has,
  that is a `TemporaryError`, and never half a message.
* ``box[key] = message`` replaces by one rename. The original makes the new message visible beside the
  old one, then removes the old one, then renames.
* `clean` measures age by the time of the last write and the server's clock. The original uses the time
  of the last access and this host's clock, but backups change that time, and hosts' clocks differ.
  CPython's `test_clean` is the only test that therefore does not apply.
* `remove_folder` refuses a folder whose tmp/ still has a file that `clean` keeps, which may be a message
  in delivery. The original deletes it.
* `colon` becomes ``;`` automatically when the first flag is written, if the mount refuses ``:``. Names
  with either are read.
* Keys contain random bits. `_create_tmp` is the original's; `add` does not use it.
* `get_file` returns an ordinary binary file.

As in the original, folder names are used unchanged, whereas `maildir_safe.Maildir` encodes them as IMAP
servers do. `add` holds a message in memory; `maildir_safe.Maildir.deliver` accepts streams.
"""

from __future__ import annotations

import errno
import io
import mailbox
import os
import time
from collections.abc import Callable
from mailbox import (  # so that one import is to be changed, and no other
    MH,
    MMDF,
    Babyl,
    BabylMessage,
    Error,
    ExternalClashError,
    FormatError,
    Mailbox,
    MaildirMessage,
    Message,
    MHMessage,
    MMDFMessage,
    NoSuchMailboxError,
    NotEmptyError,
    mbox,
    mboxMessage,
)
from typing import Any, BinaryIO, TypeVar

from maildir_safe._fs import FileSystem
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._handoff.rename import close_quietly
from maildir_safe._maildir.directories import make, subdirectories
from maildir_safe._maildir.message_store import Message as Found
from maildir_safe._maildir.named_store import NamedStore, NotEmpty
from maildir_safe._names import FOLDER_MARK, UniqueNames, fields, host_token, split
from maildir_safe.errors import NotAMaildir, TemporaryError

__all__ = [
    "MH", "MMDF", "Babyl", "BabylMessage", "Error", "ExternalClashError", "FormatError", "MHMessage",
    "MMDFMessage", "Mailbox", "Maildir", "MaildirMessage", "Message", "NoSuchMailboxError", "NotEmptyError",
    "mbox", "mboxMessage",
]  # fmt: skip

_LOOKS = 5

T = TypeVar("T")


class Maildir(mailbox.Maildir):
    """A Maildir with the interface of the standard library's; see `mailbox.Maildir`.

    Args:
        dirname: the Maildir; ``~`` is the home directory.
        factory: makes the result of ``box[key]`` from a binary file; None: `mailbox.MaildirMessage`.
        create: make it if nothing exists there; the directory above it must exist.
        staging: where messages are written first, ``"tmp"`` or ``"new"``, as for `maildir_safe.Maildir`. The
            original has no such argument; folders have the same.

    Raises:
        mailbox.NoSuchMailboxError: nothing exists at `dirname`, and `create` is False.
        NotAMaildir: it cannot be made.
    """

    def __init__(
        self,
        dirname: str | os.PathLike[str],
        factory: Callable[[Any], Any] | None = None,
        create: bool = True,
        *,
        staging: str | None = None,
    ) -> None:
        path = os.path.abspath(os.path.expanduser(dirname))
        self._fs: FileSystem = OsFileSystem()
        if create and _is_empty(self._fs, path):
            make(self._fs, path)
        super().__init__(path, factory, create=False)
        self._toc_mtimes = {"new": 0.0, "cur": 0.0}
        self._skewfactor = 0.1
        self._staging = staging
        self._opened: NamedStore | None = None
        self._names = UniqueNames(self._fs, os.getpid(), host_token(os.uname().nodename))

    @property
    def _store(self) -> NamedStore:
        """The store, opened on first use: a directory of folders need not be a Maildir itself."""
        if self._opened is None:
            self._opened = NamedStore(self._path, create=False, staging=self._staging, fs=self._fs)
        return self._opened

    # Changing

    def add(self, message: Any) -> str:
        """Add a message, durably, and return its key.

        Args:
            message: as for the original: bytes, ASCII str, an `email.message.Message` or a binary
                file. A `mailbox.MaildirMessage` brings its directory, info and date.

        Raises:
            TemporaryError: not added; nothing of it is left behind.
            UnknownOutcome: added or not.
        """
        data = io.BytesIO()
        self._dump_message(message, data)
        key = self._names.new([""])[0]
        subdir, suffix, mtime_ns = self._wishes(message, "new", "")
        self._store.put(data.getvalue(), subdir, key + suffix, mtime_ns)
        return key

    def __setitem__(self, key: str, message: Any) -> None:
        """Replace the message with this key. The key stays; the flags stay unless the new message has flags.

        Raises:
            KeyError: there is none. TemporaryError: not replaced. UnknownOutcome: replaced or not;
            in any case the old message is there, or the new one.
        """
        data = io.BytesIO()
        old = self._on(key, lambda found: found)
        self._dump_message(message, data)
        suffix = self._suffix(self._split(old.name)[1])
        subdir, suffix, mtime_ns = self._wishes(message, old.subdir, suffix)
        self._rename(key, subdir, key + suffix)  # then replace: there are never two messages, nor none
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
        start, _, rest = fields(":" + self.get_info(key))
        self.set_info(key, (start[1:] or "2,") + "".join(sorted(set(flags))) + rest)

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
        """Close the directories, so that the mount can be unmounted; the next call reopens them."""
        if self._opened is not None:
            self._opened.close()

    # Reading

    def get_message(self, key: str) -> Any:
        """Return the message, a `mailbox.MaildirMessage` or the factory's result; KeyError if none."""
        found, (data, date) = self._on(key, lambda found: (found, self._store.read(found)))
        message: Any = self._factory(io.BytesIO(data)) if self._factory else MaildirMessage(data)
        message.set_date(date)
        message.set_subdir(found.subdir)
        info = self._split(found.name)[1]
        if info:
            message.set_info(info)
        return message

    def get_bytes(self, key: str) -> bytes:
        """Return the message as stored; KeyError if there is none, PermanentError if it is damaged."""
        return self._on(key, self._store.read)[0]

    def get_file(self, key: str) -> BinaryIO:  # type: ignore[override] # more than the original's _ProxyFile
        """Return the message as a binary file, which the caller must close; KeyError if there is none."""
        return self._on(key, self._store.open_file)

    def get_info(self, key: str) -> str:
        """Return the text after the colon in the message's name; KeyError if there is no such message."""
        return self._split(self._lookup(key))[1]

    def get_flags(self, key: str) -> str:
        """Return the message's flags, such as ``"RS"``; KeyError if there is no such message."""
        return fields(":" + self.get_info(key))[1]

    # Folders

    def list_folders(self) -> list[str]:
        """Return the names of all folders, as stored in their directories' names."""
        root = self._fs.open_dir(self._path)
        try:
            return [name[1:] for name in subdirectories(self._fs, root) if name[:1] == "." and name != "."]
        finally:
            close_quietly(self._fs, root)

    def get_folder(self, folder: str) -> Maildir:
        """Return a folder; `mailbox.NoSuchMailboxError` if it does not exist."""
        return Maildir(
            os.path.join(self._path, "." + folder), self._factory, create=False, staging=self._staging
        )

    def add_folder(self, folder: str) -> Maildir:
        """Return a folder; it is made if it is missing."""
        path = os.path.join(self._path, "." + folder)
        result = Maildir(path, self._factory, staging=self._staging)
        root = self._fs.open_dir(path)
        try:
            if FOLDER_MARK not in self._fs.listdir(root):
                self._fs.close(self._fs.create(FOLDER_MARK, root))
        finally:
            close_quietly(self._fs, root)
        return result

    def remove_folder(self, folder: str) -> None:
        """Remove a folder; `mailbox.NotEmptyError` if it has a message, a directory or a delivery."""
        try:
            self.get_folder(folder)._store.remove(f"{folder}: not empty")
        except NotEmpty as reason:
            raise NotEmptyError(str(reason)) from reason

    def __getstate__(self) -> dict[str, Any]:
        """Support pickling, as the original does; the process that unpickles it opens it again."""
        return {name: value for name, value in vars(self).items() if name not in ("_opened", "_names", "_fs")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._fs = OsFileSystem()
        self._opened = None
        self._names = UniqueNames(self._fs, os.getpid(), host_token(os.uname().nodename))

    # Basis of the inherited methods

    def _refresh(self) -> None:
        """List again, unless nothing has changed since the last listing.

        The directories' times show that, but not within two seconds (the resolution of FAT).
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
        """Return where a message is, as ``new/…`` or ``cur/…``; KeyError if there is none."""
        if key in self._toc and self._store.has(_message(self._toc[key])):
            return self._toc[key]
        for _ in range(2):  # a name missing from one listing proves nothing
            self._list()
            if key in self._toc:
                return self._toc[key]
        raise KeyError(f"No message with key: {key}")

    def _on(self, key: str, action: Callable[[Found], T]) -> T:
        """Apply a function to a message wherever it is; look again if it has moved since the look-up."""
        for _ in range(_LOOKS):
            try:
                return action(_message(self._lookup(key)))
            except IsADirectoryError:  # or a fifo: its name only looks like a message's
                break
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ESTALE):
                    raise
                if error.errno == errno.ESTALE:
                    self._store.close()  # so that its directories are reopened
        else:
            raise TemporaryError(f"{self._path}: the message {key} keeps moving; try again")
        raise KeyError(f"No message with key: {key}")

    def _rename(self, key: str, subdir: str | None, name: str) -> None:
        def change(found: Found) -> None:
            target = subdir or found.subdir
            if (found.subdir, found.name) != (target, name):
                self._store.rename_to(found, target, name)
            self._toc[key] = f"{target}/{name}"

        self._on(key, change)

    def _wishes(self, message: Any, subdir: str, suffix: str) -> tuple[str, str, int | None]:
        """Return directory, suffix of the name, and date: the message's own, or else the defaults given."""
        if not isinstance(message, MaildirMessage):
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
        """Split a file's name into key and info, at `colon` or at the usual separator."""
        name = os.path.basename(name)
        end = len(split(name)[0])
        for mark in (self.colon, ":", ";"):
            at = name.find(mark, 0, end)
            end = end if at < 0 else at
        return name[:end], name[end + 1 :]


def _is_empty(fs: FileSystem, path: str) -> bool:
    """Report whether a Maildir may be made there: nothing exists, or an empty directory such as a new mount.

    Raises:
        NotAMaildir: something else is there.
    """
    try:
        root = fs.open_dir(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise NotAMaildir(f"{path}: cannot be opened: {error.strerror}") from error
    try:
        return not {*fs.listdir(root)} - {"lost+found"}
    except OSError as error:
        raise NotAMaildir(f"{path}: cannot be listed: {error.strerror}") from error
    finally:
        close_quietly(fs, root)


def _message(subpath: str) -> Found:
    subdir, _, name = subpath.partition("/")
    return Found(subdir, name)
