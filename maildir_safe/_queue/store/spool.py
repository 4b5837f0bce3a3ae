"""All moves of an item. Each move is one rename; the last one may be an unlink.

An item's state is the directory of its file and the file's name. The path is the fencing token: no path is
ever used twice, so a call that is executed late finds nothing. (ARCHITECTURE.md, "The queue".)

    move                               by                fsync owed            a crash may undo
    ---------------------------------+-----------------+---------------------+-------------------------
    mkdir bucket                       put (SpoolWriter) pending/ once, before nothing: else loss
                                                         its first "accepted"
    tmp -> pending/<bucket>            put (SpoolWriter) file, bucket          after "accepted": nothing
    mkdir claimed/<W>                  W (Lease)         claimed/, before W's  nothing: else loss
                                                         first claim
    pending -> claimed/<W>             W                 none                  back in pending
    claimed/<W> -> gone (ack)          W                 claimed/<W>, shared   SMTP duplicate, no loss
    claimed/<W> -> Maildir new/        W, same mount     new/, before          it returns, and comes
                                                         reporting delivered   under the same name
    claimed/<W> -> pending             W or a sweeper    bucket, if a state    done recipients are sent
      (release, retry, states)                           changed               again, a bounce too
    mkdir failed/<part>, hold/, ...    HashedDirectory   failed/, hold/, ...   nothing: else loss
                                                         before its first use
    claimed/<W> -> failed, corrupt     W                 that part             finished again
    pending -> hold -> pending         an operator       that part of hold/    held, or not
    hold, failed, corrupt -> gone      an operator       that part             back again
    alive/<W>.<n> -> fenced/<W>        an observer       none                  fenced again
    fenced/<W> -> gone, after a sweep  a sweeper         buckets and claimed/, swept again
                                                         before

Workers may compete for an item in pending/; W, and sweepers once W is fenced, for one in claimed/<W>. Their
destinations differ, so one wins, and the losers find the source gone. When W finds its item gone, its own
call moved it and the reply was lost, or W was fenced. A worker that can renew its lease was never fenced.
"""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING

from maildir_safe._fs.quirks import quirks
from maildir_safe._handoff.rename import DONE, GONE, UNKNOWN, Handoff, Outcome, remove_quietly
from maildir_safe._queue.store.bucket import NOW, period
from maildir_safe._queue.store.item import Item
from maildir_safe._queue.store.item_name import parse
from maildir_safe._queue.store.second_names import has_second_name, is_delivered, keep_one_name
from maildir_safe._queue.store.states import has_report_due
from maildir_safe.errors import LeaseLost, TemporaryError, UnknownOutcome, storage_error

if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem
    from maildir_safe._handoff.group_commit import DirectorySync
    from maildir_safe._maildir.directories import OpenDirectories
    from maildir_safe._queue.store.hashed_directory import HashPart
    from maildir_safe._queue.store.layout import Layout
    from maildir_safe._queue.store.lease import Lease
    from maildir_safe._queue.store.writer import BucketTarget, SpoolWriter

log = logging.getLogger("maildir_safe.queue")

_TRIES = 4
_PAUSES = (0.01, 0.1, 1.0, 0.0)


class Spool:
    """The moves. Thread-safe.

    Args:
        fs: the file system's calls.
        layout: the spool's directories.
        writer: this process's buckets.
        resolve_timeout: see `maildir_safe._handoff.rename.Handoff`.
    """

    def __init__(self, fs: FileSystem, layout: Layout, writer: SpoolWriter, resolve_timeout: float) -> None:
        self._fs = fs
        self._layout = layout
        self._writer = writer
        self._handoff = Handoff(fs, resolve_timeout)

    # pending -> claimed/<W>

    def claim(
        self, lease: Lease, bucket: int, items: dict[str, Item]
    ) -> tuple[list[Item], list[Item], TemporaryError | None]:
        """Claim items of a bucket, by name. The caller has added them with `Lease.add_held`.

        Returns:
            The items claimed; the items not tried; and the error that stopped the call, or None. The next
            renewal returns an item whose rename is executed late.

        Raises:
            LeaseLost: this worker was fenced.
        """
        ambiguous = self._handoff.claim_all(bucket, lease.dir_fd, items)
        if not ambiguous:
            return list(items.values()), [], None
        names, stopped = list(items), None
        tried = names
        last, outcome = list(ambiguous.items())[-1]
        if outcome.kind not in (DONE, GONE):
            tried = names[: names.index(last) + 1]
            stopped = self._why_not_claimed(lease, last, outcome)
        missed = {name for name, outcome in ambiguous.items() if outcome.kind != DONE}
        taken = [items[name] for name in tried if name not in missed]
        return taken, [items[name] for name in names[len(tried) :]], stopped

    def _why_not_claimed(self, lease: Lease, name: str, outcome: Outcome) -> TemporaryError:
        """The error of an item that may or may not have been claimed. Raises LeaseLost: fenced."""
        try:
            lease.renew()
        except LeaseLost:
            raise
        except TemporaryError as error:
            return error
        return _failure(f"claim {name}", outcome)

    def keep_one_name(self, lease: Lease, item: Item, bucket: str) -> None:
        """See `second_names.keep_one_name`. Raises OSError, LeaseLost: another worker keeps the item."""
        if not keep_one_name(self._fs, self._layout, lease, item, bucket):
            lease.forget(item.name)
            raise LeaseLost(f"{item.id}: another worker holds it by a second name of its file")

    # claimed/<W> -> gone

    def ack(self, lease: Lease, item: Item) -> None:
        """Remove an item that is done. The caller must fsync: `Lease.fsync_removals`, once for many items.

        Raises:
            LeaseLost: fenced; another worker has the item. TemporaryError: the item is still there.
        """
        try:
            self._fs.unlink(item.name, dir_fd=lease.dir_fd)
        except OSError as error:
            self._resolve_ack(lease, item, error)
        lease.forget(item.name)

    def _resolve_ack(self, lease: Lease, item: Item, error: OSError) -> None:
        for pause in _PAUSES:
            if error.errno == errno.ENOENT and self._was_mine(lease, item):
                return
            self._fs.sleep(pause)
            try:
                self._fs.unlink(item.name, dir_fd=lease.dir_fd)
            except OSError as again:
                error = again
            else:
                return
        lease.renew()
        raise storage_error(f"remove {item.id}, which is done", error)

    # claimed/<W> -> Maildir/new

    def deliver(self, lease: Lease, item: Item, maildir: OpenDirectories) -> bool:
        """Move an item into a Maildir, under a name that does not depend on the worker that delivers it.

        Returns:
            False if the Maildir is on another file system: the message must be copied.

        Raises:
            LeaseLost: fenced; another worker delivers the item.
            UnknownOutcome: the item may be delivered, or is delivered but perhaps not durable. Call again. If
                the item is given back instead and was delivered, nothing is left to return: it cannot be
                delivered twice.
            TemporaryError: not delivered. Call again, or give the item back.
            Damaged: the file does not match its name.
        """
        try:
            second_name = has_second_name(self._fs, item, lease.dir_fd)
            if second_name and is_delivered(self._fs, item, maildir):
                return self._delivered_before(lease, item, maildir)
        except FileNotFoundError:
            second_name = False  # the rename below finds out where the item is
        except OSError as error:
            lease.renew()
            raise storage_error(f"look at {item.id}", error) from error
        outcome = self._move_out_of_claimed(lease, item, maildir.new, item.maildir_name)
        if outcome.kind != DONE:
            if outcome.error and outcome.error.errno == errno.EXDEV:
                return False
            raise _failure(f"deliver {item.id}", outcome)
        if outcome.error is not None:
            lease.renew()  # all workers use the same name, so another worker may have delivered it
        try:
            if quirks(self._layout.fstype).old_names_return:
                lease.sync.sync()  # see DirectorySync
            maildir.sync["new"].sync()
        except OSError as error:
            raise UnknownOutcome(str(storage_error(f"fsync new/ for {item.id}", error))) from error
        if second_name:
            remove_quietly(self._fs, lease.dir_fd, item.name)  # a rename between two links does nothing
            lease.fsync_removals(item.id)
        lease.forget(item.name)
        return True

    def _delivered_before(self, lease: Lease, item: Item, maildir: OpenDirectories) -> bool:
        """Remove a claimed entry that is a second hard link to a message already in the Maildir."""
        try:
            for sync in maildir.sync.values():
                sync.sync()
        except OSError as error:
            raise UnknownOutcome(str(storage_error(f"fsync new/ for {item.id}", error))) from error
        self.ack(lease, item)
        lease.fsync_removals(
            item.id
        )  # a reader may remove the message: the item must not return after a crash
        return True

    # claimed/<W> -> pending

    def give_back(self, lease: Lease, item: Item, after: Item) -> None:
        """Return an item to pending/.

        Args:
            after: the item afterwards (`Item.returned`). Changed states are made durable.

        Raises:
            LeaseLost: fenced; a sweeper returns the item as it was.
            UnknownOutcome: the item may have been returned. Call again.
            TemporaryError: not returned. Call again.
        """
        outcome, targets = self.refile(lease, lease.dir_fd, item, after)
        if outcome.kind != DONE:
            lease.renew()
            raise _failure(f"return {item.id}", outcome)
        if after.states != item.states:
            # after several attempts its bucket is not known, but the fsync of either directory will do
            sync = targets[0].sync["pending"] if len(targets) == 1 else lease.sync
            self._sync(sync, f"the bucket of {item.id}")
        lease.forget(item.name)

    # claimed/<W> -> failed, corrupt

    def shelve(self, lease: Lease, item: Item, after: Item, where: str) -> None:
        """Move an item to failed/ or corrupt/, durably. Raises as `give_back`."""
        part = self._part(where, item)
        try:
            outcome = self._move_out_of_claimed(lease, item, part.dir_fd, after.name)
        except LeaseLost:
            if not part.lists(
                after.name
            ):  # the reply was lost: no sweep makes this name, since it raises gen
                raise
        else:
            if outcome.kind != DONE:
                raise _failure(f"move {item.id} to {where}/", outcome)
        self._sync(part.sync, f"{where}/ for {item.id}")
        lease.forget(item.name)

    # Items in a worker's directory without a claim: their renames were executed late

    def tidy(self, lease: Lease) -> None:
        """Return items in claimed/<W> that have no claim. Raises OSError, TemporaryError."""
        removed = lease.recently_removed.copy()
        for name in self._fs.listdir(lease.dir_fd):
            item = parse(name)
            if name in removed:  # a second link to a file that was renamed, or a name that came back
                remove_quietly(self._fs, lease.dir_fd, name)
            elif item is not None and lease.add_held([item]):
                try:
                    self.refile(lease, lease.dir_fd, item, item.returned())
                finally:
                    lease.held.discard(name)
        lease.recently_removed -= removed

    # Files whose names look like items' but are invalid -> corrupt/

    def quarantine(self, source: int, name: str) -> None:
        """Move a file with an invalid name to corrupt/, under a name of its own, if possible.

        Raises:
            OSError: corrupt/ cannot be used.
        """
        safe = "".join(c if c.isascii() and (c.isalnum() or c in ".,=-") else "_" for c in name[:100])
        target = f"{safe}.{self._fs.random(8).hex()}"
        part = self._layout.hashed["corrupt"].make(target)
        self._handoff.claim(source, name, part.dir_fd, target)
        log.warning("%s/corrupt/: %s is not the name of an item", self._layout.path, target)

    # Operators: pending -> hold -> pending, failed -> pending, and gone

    def hold(self, bucket: int, item: Item) -> bool:
        """Pause an item; False if it is no longer in that bucket. Raises TemporaryError."""
        part = self._part("hold", item)
        outcome = self._handoff.claim(bucket, item.name, part.dir_fd, item.name)
        if outcome.kind not in (DONE, GONE):
            raise _failure(f"hold {item.id}", outcome)
        self._sync(part.sync, f"hold/ for {item.id}")
        return outcome.kind == DONE

    def requeue(self, source: int, item: Item, after: Item) -> bool:
        """Return an item from hold/, failed/ or another bucket; False if it is no longer there."""
        outcome, targets = self.refile(None, source, item, after)
        if outcome.kind not in (DONE, GONE):
            raise _failure(f"requeue {item.id}", outcome)
        for target in targets:
            self._sync(target.sync["pending"], f"the bucket of {item.id}")
        return outcome.kind == DONE

    def remove(self, where: str, item: Item) -> bool:
        """Remove an item for good from hold/, failed/ or corrupt/; False if it is not there."""
        try:
            part = self._layout.hashed[where].find(item.id)
            self._fs.unlink(item.name, dir_fd=part.dir_fd)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise storage_error(f"remove {item.id}", error) from error
        self._sync(part.sync, f"{where}/ for {item.id}")
        return True

    # Used above, and by the sweeper

    def _move_out_of_claimed(self, lease: Lease, item: Item, dst_dir: int, dst: str) -> Outcome:
        """Rename out of claimed/<W>. DONE also if the rename was done and the file has moved on since."""
        for pause in _PAUSES:
            outcome = self._handoff.claim(lease.dir_fd, item.name, dst_dir, dst)
            if outcome.kind != GONE:
                break
            if self._was_mine(lease, item):
                return Outcome(DONE, outcome.renames, outcome.error)
            self._fs.sleep(pause)
        if outcome.kind == UNKNOWN:
            lease.renew()  # GlusterFS reports ESTALE if claimed/<W> was swept
        return outcome

    def _was_mine(self, lease: Lease, item: Item) -> bool:
        """Whether this worker's own call moved an item that is reported gone.

        False if a fresh listing shows the item: then the look-up was answered from a cache.

        Raises:
            LeaseLost: this worker was fenced, so a sweeper may have moved it.
            UnknownOutcome: the storage does not answer.
        """
        try:
            if item.name in self._fs.listdir(lease.dir_fd):
                return False
        except OSError:
            pass  # if claimed/<W> was swept, the renewal fails
        lease.renew()
        return True

    def refile(
        self, lease: Lease | None, source: int, item: Item, after: Item
    ) -> tuple[Outcome, list[BucketTarget]]:
        """Rename a file in `source` into a bucket of this process.

        Another process may have removed the bucket because it was empty for long; then a new one is used.

        Returns:
            The outcome, and the buckets that were tried. The caller must fsync them.
        """
        when = NOW if _is_urgent(item, after) else period(after.not_before, self._fs.time_ns() / 1e9)
        targets: list[BucketTarget] = []
        for attempt in range(_TRIES):
            target = self._writer.target(when, 1, anew=attempt > 0)
            targets.append(target)
            outcome = self._handoff.claim(source, item.name, target.dir_fd, after.name)
            if outcome.kind == GONE and lease is not None:
                if not self._was_mine(lease, item):
                    continue
                outcome = Outcome(DONE, outcome.renames, outcome.error)
            if outcome.kind in (DONE, GONE) or not _has_vanished(outcome):
                break
        return outcome, targets

    def _part(self, where: str, item: Item) -> HashPart:
        try:
            return self._layout.hashed[where].make(item.id)
        except OSError as error:
            raise storage_error(f"make room in {self._layout.path}/{where}", error) from error

    def _sync(self, sync: DirectorySync, what: str) -> None:
        try:
            sync.sync()
        except OSError as error:
            raise UnknownOutcome(str(storage_error(f"fsync {what}", error))) from error


def _is_urgent(item: Item, after: Item) -> bool:
    """Whether a report is due, and this move does not postpone a report that was just attempted."""
    put_off = after.tries > item.tries and after.states == item.states
    return has_report_due(after.states) and not put_off


def _has_vanished(outcome: Outcome) -> bool:
    """Whether the destination directory may be gone: rename failed, but the source was there."""
    return outcome.error is not None and outcome.error.errno in (errno.ENOENT, errno.ESTALE)


def _failure(what: str, outcome: Outcome) -> TemporaryError:
    error = outcome.error or OSError(errno.EIO, "no error was given")
    failure = storage_error(what, error)
    return UnknownOutcome(str(failure)) if outcome.kind == UNKNOWN else failure
