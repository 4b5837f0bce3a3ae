"""Finds an earlier attempt at the same delivery by its delivery id.

The name of the message contains a hash of the id. The rest of the name is unknown, so the directories
are listed. One listing may omit a name that exists, and a second copy cannot be taken back. Therefore
only two listings in succession prove that there is none.

A name alone proves nothing either: a rename that is executed late may have moved a seal to it, which is a
directory (`maildir_safe._handoff.seals`).
"""

from __future__ import annotations

from maildir_safe._delivery.receipt import DURABILITY_LEVELS, Receipt
from maildir_safe._handoff.listing import stable_listing
from maildir_safe._handoff.seals import is_seal
from maildir_safe._names import carries, size_of, split
from maildir_safe.errors import fsync_failed, storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem
    from maildir_safe._maildir.directories import OpenDirectories

_PROOF = 2  # successive listings that do not show it
_LOOKS = 5


def find_earlier(fs: FileSystem, path: str, dirs: OpenDirectories, hashed_id: str) -> Receipt | None:
    """Return the receipt of an earlier delivery if its message is still in new/ or cur/, else None.

    The message is made durable first.

    Args:
        path: the Maildir, for the receipt and for error messages.
        dirs: its open directories.
        hashed_id: the hash of the delivery id, from `id_hash`.

    Raises:
        TemporaryError: a directory cannot be listed.
        UnknownOutcome: the message exists but may not be durable.
    """
    try:
        fs.stat("tmp", dirs.root)  # before new/: see `OpenDirectories`
        found = _search(fs, dirs, hashed_id)
    except OSError as error:
        raise storage_error(f"look for an earlier delivery in {path}", error) from error
    if found is None:
        return None
    subdir, name = found
    where, size = f"{path}/{subdir}/{name}", size_of(name) or 0
    try:
        level = "full" if dirs.sync[subdir].sync() else "file"  # the earlier attempt may not have done so
    except OSError as error:
        raise fsync_failed(f"{path}/{subdir}", where, error) from error
    level = min(level, dirs.durability, key=DURABILITY_LEVELS.index)
    return Receipt(where, split(name)[0], level, size, repeated=True)


def _search(fs: FileSystem, dirs: OpenDirectories, hashed_id: str) -> tuple[str, str] | None:
    """Search new/, then cur/, where a reader may have moved the message in the meantime."""
    for look in range(1, _LOOKS + 1):
        before = fs.fstat(dirs.cur).st_mtime_ns
        for subdir in ("new", "cur"):
            for name in stable_listing(fs, dirs.fd(subdir)):
                if (
                    not name.startswith(".")
                    and carries(name, hashed_id)
                    and not is_seal(fs, dirs.fd(subdir), name)
                ):
                    return subdir, name
        if look >= _PROOF and fs.fstat(dirs.cur).st_mtime_ns == before:
            break  # otherwise readers changed flags, and a listing may omit what is renamed
    return None
