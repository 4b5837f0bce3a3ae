"""A Maildir: delivery, reading, folders and cleaning, for any number of processes and hosts at once."""

from __future__ import annotations

import os

from maildir_safe._delivery.attempt import JANITOR_AGE
from maildir_safe._delivery.content import chunks
from maildir_safe._delivery.job import DeliveryJob
from maildir_safe._delivery.pipeline import DeliveryPipeline
from maildir_safe._delivery.receipt import DURABILITY_LEVELS, Receipt, outcome_of, receipt_of
from maildir_safe._delivery.trace_headers import trace_headers
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._handoff.rename import RESOLVE_TIMEOUT, Handoff
from maildir_safe._maildir.directories import has_file, make
from maildir_safe._maildir.handles import DirectoryHandles
from maildir_safe._names import FOLDER_MARK, UniqueNames, host_token, id_hash, with_flags
from maildir_safe.errors import NotAMaildir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from typing import Any, BinaryIO

    from maildir_safe._delivery.content import Content
    from maildir_safe._fs import FileSystem
    from maildir_safe._handoff.group_commit_async import AsyncCombiner
    from maildir_safe._maildir.directories import OpenDirectories
    from maildir_safe._maildir.janitor import CleanReport
    from maildir_safe._maildir.message_store import Listing, Message, MessageStore
    from maildir_safe._maildir.quota import Quota


_FILE_CALLS_FIRST = {"folder", "flags", "delivery_id"}


class Maildir:
    """A Maildir on any mount, with or without hard links.

    Thread-safe. Every message is published by one rename() and is durable before a call returns, as
    far as the mount supports that; the receipt states the level. If a process forks while another of
    its threads delivers, the child must make a new Maildir, as with all locks.

    Args:
        path: the Maildir.
        create: make it if nothing exists there; the directory above it must exist.
        require: refuse deliveries (temporarily) whose durability would be below this level, one of
            `maildir_safe._delivery.receipt.DURABILITY_LEVELS`.
        separator: ``":"`` or ``";"`` between name and flags. None: the one that a probe has stored for
            the mount (`maildir_safe._fs.stored_options`), else the first one that the mount accepts.
        staging: where messages are written first: ``"tmp"``, or ``"new"`` for the target directory,
            under a dot name. On Coda, ``"new"`` avoids conflicts between two directories, but some
            readers list dot files. None: the stored option, else the default of the type.
        resolve_timeout: seconds to wait for caches and servers before an outcome is reported unknown.
        fs: the file system's calls; `maildir_safe.testing` has simulated ones.

    Raises:
        NotAMaildir: it does not exist and cannot be made, or it is not usable.
        ValueError: an argument has none of the values named above.
    """

    _inside = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        create: bool = True,
        require: str | None = None,
        separator: str | None = None,
        staging: str | None = None,
        *,
        resolve_timeout: float = RESOLVE_TIMEOUT,
        fs: FileSystem | None = None,
    ) -> None:
        _one_of("require", require, (None, *DURABILITY_LEVELS))
        _one_of("separator", separator, (None, ":", ";"))
        _one_of("staging", staging, (None, "tmp", "new"))
        self.path = os.path.abspath(path)  # it is looked up again later, perhaps after a chdir
        self._fs = fs or OsFileSystem()
        self._options = (require, separator, staging)  # folders are opened with them too
        self._resolve_timeout = resolve_timeout
        self._async: AsyncCombiner | None = None
        self._folders: dict[str, Maildir] = {}
        self._handles = DirectoryHandles(self._fs, self.path, require, separator, staging, self._inside)
        self._messages: MessageStore | None = None
        if create:
            make(self._fs, self.path)
        self._handles.get()
        names = UniqueNames(self._fs, os.getpid(), host_token(os.uname().nodename))
        self._pipeline = DeliveryPipeline(
            self._fs, self.path, self._handles.get, names, self._handles.staging(), require, resolve_timeout
        )

    # Delivering

    def deliver(
        self,
        message: Content,
        *,
        sender: str | None = None,
        recipient: str | None = None,
        original_recipient: str | None = None,
        delivery_id: str | None = None,
        flags: str = "",
        folder: str | None = None,
    ) -> Receipt:
        """Deliver a message. When this returns, the message is in the Maildir, complete and durable.

        Args:
            message: bytes (stored as they are), str (as UTF-8), an `email.message.Message`, or a
                binary stream, which takes constant memory.
            sender, recipient, original_recipient: envelope addresses, put on top as Return-Path,
                Delivered-To and X-Original-To. An empty sender is the null sender.
            delivery_id: successive attempts with the same id yield one copy while the message is still
                in new/ or cur/. An earlier attempt is searched for first, by the hash of the id in its
                name, which costs two listings of both directories. Concurrent attempts are not covered.
            flags: letters such as ``"S"``; a message with flags goes into cur/.
            folder: the folder (Maildir++) to deliver into, made if it is missing; named as for `folder`.

        Returns:
            The receipt. Its `durability` is the level that the mount supports.

        Raises:
            TemporaryError: not delivered, and nothing of it is left behind; retry later.
            UnknownOutcome: may have been delivered; retry with the same `delivery_id`.
            PermanentError: an address would break the headers.
            ValueError, TypeError: an invalid flag, folder, message or delivery id (an id must not be blank).
        """
        target = self if folder is None else self.folder(folder)
        job = target._job(message, trace_headers(sender, recipient, original_recipient), flags)
        if delivery_id is not None:
            from maildir_safe._maildir.earlier import find_earlier

            job.hashed_id = id_hash(delivery_id)
            earlier = find_earlier(self._fs, target.path, target._handles.get(), job.hashed_id)
            if earlier:
                return earlier
        return receipt_of(target._pipeline.deliver(job))

    def deliver_many(self, messages: Iterable[Content]) -> list[Receipt]:
        """Deliver messages in batches that share fsyncs: several times faster than one by one.

        Returns:
            A receipt for each message, in order; all are durable.

        Raises:
            PartialDelivery: some were not delivered; its `results` say which. The others were delivered.
        """
        jobs = [self._job(message) for message in messages]
        if not self._pipeline.commit_alike(jobs):
            from maildir_safe._delivery.partial import PartialDelivery

            raise PartialDelivery([outcome_of(job) for job in jobs])
        return [receipt_of(job) for job in jobs]

    async def deliver_async(self, message: Content, **options: Any) -> Receipt:
        """`deliver` for asyncio: same arguments, result and errors. Concurrent deliveries share fsyncs.

        Cancelling the caller does not stop the delivery; the caller then does not learn its outcome.

        An additional argument is `executor`, a `concurrent.futures.Executor` whose threads make the
        file calls; the default is the event loop's.
        """
        executor = options.pop("executor", None)
        if hasattr(message, "read") or options.keys() & _FILE_CALLS_FIRST:
            from maildir_safe._maildir.apart import deliver_apart

            return await deliver_apart(self, message, executor, options)
        job = self._job(message, trace_headers(**options))
        await self._async_combiner().run(job, executor)
        return receipt_of(job)

    # Reading

    def messages(self, unchanged: Container[str] = ()) -> Listing:
        """Return all messages, those in new/ first, from the listings alone: no message is opened.

        A message that moves during the listing is returned once or not at all; a new listing shows it.

        Args:
            unchanged: ``new`` or ``cur``, if their `stamp` tells the caller that they need no new listing.

        Raises:
            TemporaryError: a directory cannot be listed.
        """
        return self._reading.messages(unchanged)

    def stamp(self) -> tuple[int, int]:
        """Return the modification times of new/ and cur/, in nanoseconds since 1970 on the server's clock.

        This is cheaper than a listing. Two changes within the resolution of the file system's times (2 s
        on vfat) may yield the same stamp.

        Raises:
            TemporaryError: the directories cannot be reached.
        """
        return self._reading.stamp()

    def find(self, key: str) -> Message:
        """Return the message with this key as a fresh listing shows it. Raises KeyError if there is none."""
        return self._reading.find(key)

    def open(self, key: str) -> BinaryIO:
        """Open a message as a binary file for reading.

        A read raises OSError if the mount cannot return the whole file; the file never ends early.

        Raises:
            KeyError: there is no such message. TemporaryError: it cannot be opened.
            PermanentError: it is damaged: shorter than its name says, and not compressed.
        """
        return self._reading.open(key)

    def set_flags(self, key: str, flags: str) -> Message:
        """Give a message exactly these flags (maildir(5): D F P R S T); it is in cur/ afterwards.

        Raises:
            KeyError: there is no such message.
            ValueError: a flag is not an ASCII letter.
            TemporaryError: not changed. UnknownOutcome: perhaps changed; the message still exists.
        """
        return self._reading.set_flags(key, flags)

    def move(self, key: str, target: str | Maildir) -> None:
        """Move a message with its flags into a folder (made if it is missing) or another Maildir.

        Raises:
            KeyError: there is no such message.
            TemporaryError: not moved; also if the two are on different file systems (EXDEV).
            UnknownOutcome: may have been moved; the message is in one of the two places.
        """
        there = self.folder(target) if isinstance(target, str) else target
        self._reading.move(key, there.directories())

    def discard(self, key: str) -> bool:
        """Remove a message; return False if there was none.

        Raises:
            TemporaryError: it could not be removed.
        """
        return self._reading.discard(key)

    def size(self) -> int:
        """Return the size of all messages in bytes, from their names (``,S=``) or else from the files."""
        return sum(map(self.size_of, self.messages()))

    def size_of(self, message: Message) -> int:
        """Return a message's size in bytes, from its name or else its file; 0 if it has moved."""
        size = message.size
        return self._reading.stamp_of(message)[0] if size is None else size

    def stamp_of(self, message: Message) -> tuple[int, int]:
        """Return size (bytes) and modification time (ns) of a message's file; zeros if it has moved."""
        return self._reading.stamp_of(message)

    # Folders and upkeep

    def folder(self, name: str, create: bool = True) -> Maildir:
        """Open a folder, a Maildir inside this one. ``"Archive.2026"`` is in ``.Archive.2026/``.

        Args:
            name: parts separated by dots; ``INBOX``, in upper or lower case, is this Maildir itself.
                ``/`` is not allowed. A name that begins with a dot is the directory's own name.
            create: make it if it is missing.

        Raises:
            ValueError: not a folder name. NotAMaildir: it does not exist and cannot be made.
        """
        from maildir_safe._maildir.folders import folder_directory

        directory = folder_directory(name, made=create)
        if not directory:
            return self
        found = self._folders.get(directory)
        try:
            if found is not None:
                found._handles.get()
                return found
        except NotAMaildir:
            pass  # removed in the meantime: open it as if for the first time
        path = f"{self.path}/{directory}"
        if create:
            make(self._fs, path, files=(FOLDER_MARK,))
        found = _Folder(path, False, *self._options, resolve_timeout=self._resolve_timeout, fs=self._fs)
        self._folders[directory] = found
        return found

    def folders(self) -> list[str]:
        """Return the names of all folders, sorted, in the form that `folder` takes.

        Raises:
            TemporaryError: the Maildir cannot be listed.
        """
        from maildir_safe._maildir.folders import folders_in

        return folders_in(self._fs, self._handles.get().root, self.path)

    def takes_renames_by(self, fs: FileSystem) -> bool:
        """Whether `fs` acts as the same user: its files may be renamed into it. If not, copy them."""
        return bool(getattr(self._fs, "owner", None) == getattr(fs, "owner", None))

    def check_quota(self, size: int = 0) -> None:
        """Refuse a message of `size` bytes that would exceed the Maildir++ quota (`maildirsize`).

        `deliver` does not check this, because it costs one look-up per message. The command does.

        Raises:
            QuotaExceeded: over quota (status 4.2.2). TemporaryError: the quota cannot be read.
        """
        self._quota(size)

    def within_quota(self, stream: BinaryIO, size: int) -> BinaryIO:
        """`check_quota` for a stream of which `size` bytes are known; the result raises if it is too long."""
        quota = self._quota(size)
        return quota.metered(stream) if quota else stream

    def clean(self, dry_run: bool = False) -> CleanReport:
        """Remove what interrupted deliveries left in tmp/ 36 hours ago or earlier.

        Args:
            dry_run: report what would be removed, and remove nothing.

        Raises:
            TemporaryError: tmp/ cannot be listed.
        """
        from maildir_safe._maildir.janitor import clean

        return clean(self._fs, self.path, self._handles.get(), JANITOR_AGE, dry_run)

    def close(self) -> None:
        """Close the directories, so that the mount can be unmounted; the next call reopens them."""
        self._handles.close()
        for folder in list(self._folders.values()):
            folder.close()

    def __repr__(self) -> str:
        return f"Maildir({self.path!r})"

    def directories(self) -> OpenDirectories:
        """Return the open directories, as a target for renames. Raises as the constructor."""
        return self._handles.get()

    def deliver_as(self, message: Content, name: str) -> Receipt:
        """`deliver` into new/ under a given name, which must be unique everywhere and include the size.

        Args:
            message: as for `deliver`; stored unchanged.
            name: the file's name, such as a queue item's; no other message may ever have had it.

        Raises:
            TemporaryError, UnknownOutcome, TypeError: as `deliver`.
        """
        job = self._job(message)
        job.final = name
        return receipt_of(self._pipeline.deliver(job))

    @property
    def _reading(self) -> MessageStore:
        """The reader of this Maildir, made on first use, since a mail delivery agent reads nothing."""
        if self._messages is None:
            from maildir_safe._maildir.message_store import MessageStore

            handoff = Handoff(self._fs, self._resolve_timeout)
            held = self._handles
            self._messages = MessageStore(self._fs, self.path, held.get, handoff, held.separator)
        return self._messages

    def _job(self, message: Content, head: bytes = b"", flags: str = "") -> DeliveryJob:
        data = chunks(message, head)
        if not flags:
            return DeliveryJob(data)
        return DeliveryJob(data, "cur", with_flags("", flags, self._handles.separator()))

    def _quota(self, size: int) -> Quota | None:
        root = self._handles.get().root
        if not has_file(self._fs, "maildirsize", root, self.path):
            return None
        from maildir_safe._maildir.quota import check_quota

        return check_quota(self, self._fs, root, size)

    def _async_combiner(self) -> AsyncCombiner:
        if self._async is None:
            from maildir_safe._handoff.group_commit_async import AsyncCombiner

            self._async = AsyncCombiner(self._pipeline.commit)
        return self._async


class _Folder(Maildir):
    """A Maildir inside another one, whose owner can replace it: symbolic links are not followed."""

    _inside = True


def _one_of(what: str, value: str | None, allowed: tuple[str | None, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{what} is one of {', '.join(map(repr, allowed))}, not {value!r}")
