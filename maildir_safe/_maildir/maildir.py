"""A Maildir: delivery, reading, folders and cleaning, for any number of processes and hosts at once."""

from __future__ import annotations

import os

from maildir_safe._delivery.attempt import JANITOR_AGE
from maildir_safe._delivery.content import chunks
from maildir_safe._delivery.job import DeliveryJob
from maildir_safe._delivery.pipeline import DeliveryPipeline
from maildir_safe._delivery.receipt import DURABILITY_LEVELS, Receipt
from maildir_safe._delivery.trace_headers import trace_headers
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._handoff.rename import RESOLVE_TIMEOUT, Handoff
from maildir_safe._maildir.directories import has_file, make
from maildir_safe._maildir.handles import DirectoryHandles
from maildir_safe._names import FOLDER_MARK, UniqueNames, host_token, id_hash, with_flags
from maildir_safe.errors import NotAMaildir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, BinaryIO

    from maildir_safe._delivery.content import Content
    from maildir_safe._fs import FileSystem
    from maildir_safe._handoff.group_commit_async import AsyncCombiner
    from maildir_safe._maildir.directories import OpenDirectories
    from maildir_safe._maildir.janitor import CleanReport
    from maildir_safe._maildir.message_store import Message, MessageStore
    from maildir_safe._maildir.quota import Quota


class Maildir:
    """A Maildir on any mount, with or without hard links.

    Thread-safe. Every message is handed over by one rename(), and is durable before a call
    returns, as far as the mount can do that: the receipt tells. A process that forks while another
    of its threads delivers makes a new Maildir in the child, as with all locks.

    Args:
        path: the Maildir.
        create: make it if nothing is there; the directory above it must exist.
        require: refuse deliveries (temporarily) that would be less durable than this level;
            see `maildir_safe._delivery.receipt.DURABILITY_LEVELS`.
        separator: ``":"`` or ``";"`` between name and flags; None: as a probe has stored it for the
            mount (`maildir_safe._fs.stored_options`), or else finds out what the mount takes.
        staging: where messages are written before they are published: ``"tmp"``, or ``"new"`` to
            write beside their target under a dot name (on Coda, no conflict can arise between
            two directories then; but some readers list dot files); None: as stored, or else as the
            type of mount needs.
        resolve_timeout: seconds to wait for caches and servers before an outcome is called unknown.
        fs: the file system's calls; `maildir_safe.testing` has simulated ones.

    Raises:
        NotAMaildir: it does not exist and cannot be made, or something is wrong with it.
        ValueError: an argument that is none of those named above.
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
        self.path = os.path.abspath(path)  # it is looked up again, perhaps after a chdir
        self._fs = fs or OsFileSystem()
        self._how = (require, separator, staging)  # as folders are opened, too
        self._resolve_timeout = resolve_timeout
        self._async: AsyncCombiner | None = None
        self._folders: dict[str, Maildir] = {}
        self._open = DirectoryHandles(self._fs, self.path, require, separator, staging, self._inside)
        self._messages: MessageStore | None = None
        if create:
            make(self._fs, self.path)
        self._open()
        names = UniqueNames(self._fs, os.getpid(), host_token(os.uname().nodename))
        self._pipeline = DeliveryPipeline(
            self._fs, self.path, self._open, names, self._open.staging(), require, resolve_timeout
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
        """Deliver a message; when this returns, it is there, complete and durable.

        Args:
            message: bytes (stored as they are), str (as UTF-8), an `email.message.Message`, or a
                binary stream, which takes constant memory.
            sender, recipient, original_recipient: envelope addresses, put on top as Return-Path,
                Delivered-To and X-Original-To. An empty sender is the null sender.
            delivery_id: makes tries one after the other one copy, while the message is still in
                new/ or cur/: an earlier one is looked for first (its name carries a hash of the
                id), at the cost of listing both twice. Two tries at the same time are not covered.
            flags: letters such as ``"S"``; a message with flags goes into cur/.
            folder: the folder (Maildir++) to deliver into, made if need be; see `folder`.

        Returns:
            The receipt. Its `durability` is the best that the mount can do.

        Raises:
            TemporaryError: not delivered, and nothing is left of it; try again later.
            UnknownOutcome: perhaps delivered; try again with the same `delivery_id`.
            PermanentError: an address that would break the headers.
            ValueError, TypeError: a flag, folder, message or delivery id that is none (an id is not blank).
        """
        target = self if folder is None else self.folder(folder)
        job = target._job(message, trace_headers(sender, recipient, original_recipient), flags)
        if delivery_id is not None:
            from maildir_safe._maildir.earlier import find_earlier

            job.hashed_id = id_hash(delivery_id)
            earlier = find_earlier(self._fs, target.path, target._open(), job.hashed_id)
            if earlier:
                return earlier
        return target._pipeline.deliver(job).result()

    def deliver_many(self, messages: Iterable[Content]) -> list[Receipt]:
        """Deliver messages as groups that share their fsyncs: several times faster than one by one.

        Returns:
            A receipt for each message, in order; all are durable.

        Raises:
            PartialDelivery: some were refused; its `results` tell which, the others are delivered.
        """
        jobs = [self._job(message) for message in messages]
        if not self._pipeline.commit_alike(jobs):
            from maildir_safe._delivery.partial import PartialDelivery

            raise PartialDelivery([job.outcome() for job in jobs])
        return [job.result() for job in jobs]

    async def deliver_async(self, message: Content, **options: Any) -> Receipt:
        """`deliver` for asyncio: same arguments, result and errors; many at once share their fsyncs.

        A caller that is cancelled does not stop the delivery: its outcome is then unknown to it.

        One more argument is `executor`, a `concurrent.futures.Executor` whose threads touch the
        files; by default the event loop's.
        """
        import asyncio
        from functools import partial

        executor = options.pop("executor", None)
        in_thread = partial(asyncio.get_running_loop().run_in_executor, executor)
        folder = options.pop("folder", None)
        if folder is not None:
            target = await in_thread(self.folder, folder)
            return await target.deliver_async(message, executor=executor, **options)
        if options.get("delivery_id") is not None or hasattr(message, "read"):
            return await in_thread(partial(self.deliver, message, **options))
        flags = options.pop("flags", "")
        options.pop("delivery_id", None)
        head = trace_headers(**options)
        if flags:  # the separator may have to be found out, by files
            job = await in_thread(self._job, message, head, flags)
        else:
            job = self._job(message, head)
        await self._async_combiner().run(job, executor)
        return job.result()

    # Reading

    def messages(self) -> Iterator[Message]:
        """All messages, those in new/ first; by names alone, nothing is opened.

        What moves while this runs is given once or not at all: list again to see it.

        Raises:
            TemporaryError: a directory cannot be listed.
        """
        return self._reading.messages()

    def stamp(self) -> tuple[int, int]:
        """When new/ and cur/ were last changed, in nanoseconds since 1970 on the server's clock.

        Cheaper than a listing. A change within the file system's step of time (2 s on vfat) after
        another may leave it as it is.

        Raises:
            TemporaryError: the directories cannot be reached.
        """
        return self._reading.stamp()

    def find(self, key: str) -> Message:
        """The message with this key, as a fresh listing shows it. Raises KeyError if there is none."""
        return self._reading.find(key)

    def open(self, key: str) -> BinaryIO:
        """A message as a binary file for reading.

        A read raises OSError where the mount cannot give all that the file has: it never ends early.

        Raises:
            KeyError: there is no such message. TemporaryError: it cannot be opened.
        """
        return self._reading.open(key)

    def set_flags(self, key: str, flags: str) -> Message:
        """Give a message exactly these flags (maildir(5): D F P R S T); it is in cur/ afterwards.

        Raises:
            KeyError: there is no such message.
            ValueError: a flag that is not an ASCII letter.
            TemporaryError: not changed. UnknownOutcome: changed or not; the message is there.
        """
        return self._reading.set_flags(key, flags)

    def move(self, key: str, target: str | Maildir) -> None:
        """Move a message, its flags kept, into a folder (made if need be) or another Maildir.

        Raises:
            KeyError: there is no such message.
            TemporaryError: not moved; also where the two are not on one file system (EXDEV).
            UnknownOutcome: moved or not; the message is in one of the two.
        """
        there = self.folder(target) if isinstance(target, str) else target
        self._reading.move(key, there.directories())

    def discard(self, key: str) -> bool:
        """Remove a message; False if there was none.

        Raises:
            TemporaryError: it could not be removed.
        """
        return self._reading.discard(key)

    def size(self) -> int:
        """Bytes of all messages: from their names (``,S=``), else from the file."""
        return sum(map(self.size_of, self.messages()))

    def size_of(self, message: Message) -> int:
        """Bytes of a message: from its name, else from the file; 0 if it has moved since it was listed."""
        size = message.size
        return self._reading.stat_size(message) if size is None else size

    # Folders and upkeep

    def folder(self, name: str, create: bool = True) -> Maildir:
        """A folder: another Maildir inside this one. ``"Archive.2026"`` lies in ``.Archive.2026/``.

        Args:
            name: parts with dots between; ``INBOX``, in upper or lower case, is this Maildir itself.
                ``/`` is in no name. A name that begins with a dot is the directory's own.
            create: make it if it is not there.

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
                found._open()
                return found
        except NotAMaildir:
            pass  # removed since: as if it had never been opened
        path = f"{self.path}/{directory}"
        if create:
            make(self._fs, path, files=(FOLDER_MARK,))
        found = _Folder(path, False, *self._how, resolve_timeout=self._resolve_timeout, fs=self._fs)
        self._folders[directory] = found
        return found

    def folders(self) -> list[str]:
        """The names of all folders, sorted; each opens with `folder` as itself.

        Raises:
            TemporaryError: the Maildir cannot be listed.
        """
        from maildir_safe._maildir.folders import folders_in

        return folders_in(self._fs, self._open().root, self.path)

    @property
    def takes_renames(self) -> bool:
        """Whether a file of this process's may be renamed into it; else it must be written by its owner."""
        return getattr(self._fs, "owner", None) is None

    def check_quota(self, size: int = 0) -> None:
        """Refuse a message of `size` bytes that a Maildir++ quota (`maildirsize`) has no room for.

        `deliver` does not do this by itself: it costs a look-up a message. The command does.

        Raises:
            QuotaExceeded: over quota (status 4.2.2). TemporaryError: the quota cannot be read.
        """
        self._quota(size)

    def within_quota(self, stream: BinaryIO, size: int) -> BinaryIO:
        """`check_quota` for a stream of which `size` bytes are known: it raises where it proves too long."""
        quota = self._quota(size)
        return quota.metered(stream) if quota else stream

    def clean(self, dry_run: bool = False) -> CleanReport:
        """Remove what interrupted deliveries left in tmp/ 36 hours ago or earlier.

        Args:
            dry_run: only report what would be removed.

        Raises:
            TemporaryError: tmp/ cannot be listed.
        """
        from maildir_safe._maildir.janitor import clean

        return clean(self._fs, self.path, self._open(), JANITOR_AGE, dry_run)

    def close(self) -> None:
        """Let go of the directories, so that the mount can be taken down; the next call opens them anew."""
        self._open.close()
        for folder in list(self._folders.values()):
            folder.close()

    def __repr__(self) -> str:
        return f"Maildir({self.path!r})"

    def directories(self) -> OpenDirectories:
        """The open directories, to rename into. Raises as the constructor."""
        return self._open()

    def deliver_as(self, message: Content, name: str) -> Receipt:
        """`deliver` into new/ under a name that is unique everywhere already, size and all.

        Args:
            message: as for `deliver`, stored as it is.
            name: the file's name, such as a queue item's; no other message ever had it.

        Raises:
            TemporaryError, UnknownOutcome, TypeError: as `deliver`.
        """
        job = self._job(message)
        job.final = name
        return self._pipeline.deliver(job).result()

    @property
    def _reading(self) -> MessageStore:
        """Made at the first look: a mail delivery agent reads nothing."""
        if self._messages is None:
            from maildir_safe._maildir.message_store import MessageStore

            handoff = Handoff(self._fs, self._resolve_timeout)
            self._messages = MessageStore(self._fs, self.path, self._open, handoff, self._open.separator)
        return self._messages

    def _job(self, message: Content, head: bytes = b"", flags: str = "") -> DeliveryJob:
        data = chunks(message, head)
        if not flags:
            return DeliveryJob(data)
        return DeliveryJob(data, "cur", with_flags("", flags, self._open.separator()))

    def _quota(self, size: int) -> Quota | None:
        root = self._open().root
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
    """A Maildir that lies in another one, whose owner made it: no symbolic link in its place is followed."""

    _inside = True


def _one_of(what: str, value: str | None, allowed: tuple[str | None, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{what} is one of {', '.join(map(repr, allowed))}, not {value!r}")
