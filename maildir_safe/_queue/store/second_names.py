"""Items whose file has a second name, as GlusterFS's healing leaves them.

rename() from one name of a file to another name of the same file succeeds and does nothing (POSIX). So an
item that is a second name of a message which the Maildir already has would be "delivered" again and again.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from maildir_safe._names import split
from maildir_safe._queue.store.item_file import no_file, open_item

if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem
    from maildir_safe._maildir.directories import OpenDirectories
    from maildir_safe._queue.store.item import Item


def has_second_name(fs: FileSystem, item: Item, dir_fd: int) -> bool:
    """Whether an item's file has more than one name. One call, in which the size is compared too.

    Args:
        dir_fd: the directory that the item lies in.

    Raises:
        Damaged: the file is not what its name says.
        OSError: it cannot be looked at.
    """
    found = fs.stat(item.name, dir_fd)
    if not stat.S_ISREG(found.st_mode):
        raise no_file(fs, item, dir_fd)
    if found.st_size != item.size:
        open_item(fs, item, dir_fd).close()  # decides whether that size is an old one
    return found.st_nlink > 1


def is_delivered(fs: FileSystem, item: Item, maildir: OpenDirectories) -> bool:
    """Whether a Maildir has the message, under the name that it has whoever delivers it, with any flags.

    Raises:
        OSError: its directories cannot be listed.
    """
    return any(
        split(name)[0] == item.maildir_name for fd in (maildir.new, maildir.cur) for name in fs.listdir(fd)
    )
