"""Items whose file has a second hard link, as GlusterFS's healing creates them.

A rename() from one name of a file to another name of the same file succeeds and does nothing (POSIX). So an
item that is a second link to a message in the Maildir would be "delivered" again and again.

An item whose old name in pending/ stayed when it was claimed would be claimed, and sent, once more. The
number of links tells, and it is known without a call when the file is opened. So the other names are
removed before the item is sent. If the other name is another worker's claim, both workers know who keeps the
item: the one whose id is smaller. The other one's name is removed by whoever looks first.
"""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from maildir_safe._handoff.late_calls import remove_second_name
from maildir_safe._handoff.rename import close_quietly
from maildir_safe._names import split
from maildir_safe._queue.store.item_file import no_file, open_item

if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem
    from maildir_safe._maildir.directories import OpenDirectories
    from maildir_safe._queue.store.item import Item
    from maildir_safe._queue.store.layout import Layout
    from maildir_safe._queue.store.lease import Lease


def has_second_name(fs: FileSystem, item: Item, dir_fd: int) -> bool:
    """Whether an item's file has more than one link. One stat call, which also checks the size.

    Args:
        dir_fd: the directory that the item is in.

    Raises:
        Damaged: the file does not match its name.
        OSError: the file cannot be examined.
    """
    found = fs.stat(item.name, dir_fd)
    if not stat.S_ISREG(found.st_mode):
        raise no_file(fs, item, dir_fd)
    if found.st_size != item.size:
        open_item(fs, item, dir_fd).close()  # raises Damaged unless the reported size was old
    return found.st_nlink > 1


def is_delivered(fs: FileSystem, item: Item, maildir: OpenDirectories) -> bool:
    """Whether a Maildir has the item's message, under `Item.maildir_name` and with any flags.

    Raises:
        OSError: the Maildir's directories cannot be listed.
    """
    return any(
        split(name)[0] == item.maildir_name for fd in (maildir.new, maildir.cur) for name in fs.listdir(fd)
    )


def keep_one_name(fs: FileSystem, layout: Layout, lease: Lease, item: Item, bucket: str) -> bool:
    """Remove the other names of a claimed item, which would be claimed and sent again.

    Args:
        bucket: the bucket that it was claimed from.

    Returns:
        False if another worker keeps the item: then this worker's name was removed.

    Raises:
        OSError: the storage does not answer; other names may be left.
    """
    pending = _opened(fs, bucket, layout.fd["pending"])
    if pending is not None:
        try:
            _remove(fs, item, pending, lease.dir_fd)
        finally:
            close_quietly(fs, pending)
    for worker in fs.listdir(layout.fd["claimed"]):
        if worker == lease.worker or (other := _opened(fs, worker, layout.fd["claimed"])) is None:
            continue
        try:
            if worker > lease.worker:
                _remove(fs, item, other, lease.dir_fd)
            elif _is_registered(fs, layout, worker) and _exists(fs, item, other):
                _remove(fs, item, lease.dir_fd, other)
                if not _exists(fs, item, lease.dir_fd):  # else it is another file, which somebody has forged
                    return False
        finally:
            close_quietly(fs, other)
    return True


def _is_registered(fs: FileSystem, layout: Layout, worker: str) -> bool:
    """Whether a worker is alive, or will be swept. An item in any other directory would stay there for ever.

    The answer may be False by mistake, after which the item is sent twice, but never lost.
    """
    alive = {name.rpartition(".")[0] for name in fs.listdir(layout.fd["alive"])}
    return worker in alive or worker in fs.listdir(layout.fd["fenced"])


def _opened(fs: FileSystem, name: str, parent: int) -> int | None:
    """A directory's descriptor; None if it is gone, and all names in it."""
    try:
        return fs.open_dir(name, parent)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE, errno.ENOTDIR):
            return None
        raise


def _exists(fs: FileSystem, item: Item, dir_fd: int) -> bool:
    try:
        fs.stat(item.name, dir_fd)
    except FileNotFoundError:
        return False
    return True


def _remove(fs: FileSystem, item: Item, src_dir: int, dst_dir: int) -> None:
    if not remove_second_name(fs, src_dir, item.name, dst_dir, item.name):
        raise OSError(errno.EIO, "the item has a second name, which cannot be removed now")
