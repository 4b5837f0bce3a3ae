"""Stopping another try of the same put, so that only one of them makes an item.

A client that has no answer sends again, perhaps to another host, while the first try stands still: its host
was stopped, or its storage did not answer. It may go on at any time. Each try has named its file in tmp/ in
its mark (`delivery_ids`) before it creates it, and can only publish that file, under that name. So a later
try takes that name away from it, and only then looks for the item:

* the file is renamed aside: the other try's rename finds nothing, and it reports that the outcome is unknown;
* there is no file: an empty directory takes its name, so that none can be created. If it was published
  before, the later try finds the item.

The directory is made only where there is no file. Otherwise the other try could rename it in place of its
file, and report that it has put it.
"""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from maildir_safe._handoff.rename import DONE, GONE, WITHDRAWN, Handoff, remove_quietly

if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem

_LOOKS = 4


def stop_other_try(fs: FileSystem, handoff: Handoff, tmp: int, draft: str) -> None:
    """Return when the try that has this file has published it, or never will.

    Args:
        tmp: the spool's tmp/, by descriptor.
        draft: the file's name in it.

    Raises:
        OSError: it may still publish it.
    """
    for _ in range(_LOOKS):
        try:
            return fs.mkdir(draft, tmp)
        except FileExistsError:
            pass
        try:
            if stat.S_ISDIR(fs.stat(draft, tmp).st_mode):
                return None  # another has stopped it
        except FileNotFoundError:
            continue  # it was published just now
        aside = WITHDRAWN + fs.random(8).hex()
        outcome = handoff.claim(tmp, draft, tmp, aside)
        if outcome.kind == DONE:
            return remove_quietly(fs, tmp, aside)
        if outcome.kind != GONE:
            raise outcome.error or OSError(errno.EIO, "no error was given")
    raise OSError(errno.EBUSY, "another try of this put cannot be stopped", draft)
