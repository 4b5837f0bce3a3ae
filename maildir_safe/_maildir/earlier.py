"""An earlier try of the same delivery, found by the id that both were given.

The message's name carries a hash of the id, and nothing else of the name is known: it is looked for
by listing. A name that one listing does not show may be there all the same, and a second copy cannot
be taken back, so that only two listings in a row prove that there is none.
"""

from __future__ import annotations

from maildir_safe._delivery.receipt import DURABILITY_LEVELS, Receipt
from maildir_safe._handoff.listing import stable_listing
from maildir_safe._names import carries, size_of, split
from maildir_safe.errors import fsync_failed, storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem
    from maildir_safe._maildir.directories import OpenDirectories

_PROOF = 2  # listings in a row that do not show it
_LOOKS = 5


def find_earlier(fs: FileSystem, path: str, dirs: OpenDirectories, hashed_id: str) -> Receipt | None:
    """The receipt of an earlier delivery, made durable, if its message is still in new/ or cur/.

    Args:
        path: the Maildir, for the receipt and for messages.
        hashed_id: from `id_hash`.

    Raises:
        TemporaryError: a directory cannot be listed.
        UnknownOutcome: it is there, and perhaps not durable.
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
        level = "full" if dirs.sync[subdir].sync() else "file"  # the earlier try may not have come to it
    except OSError as error:
        raise fsync_failed(f"{path}/{subdir}", where, error) from error
    level = min(level, dirs.durability, key=DURABILITY_LEVELS.index)
    return Receipt(where, split(name)[0], level, size, repeated=True)


def _search(fs: FileSystem, dirs: OpenDirectories, hashed_id: str) -> tuple[str, str] | None:
    """In new/, then in cur/, where a reader may have moved it meanwhile."""
    for look in range(1, _LOOKS + 1):
        before = fs.fstat(dirs.cur).st_mtime_ns
        for subdir in ("new", "cur"):
            for name in stable_listing(fs, dirs.fd(subdir)):
                if not name.startswith(".") and carries(name, hashed_id):
                    return subdir, name
        if look >= _PROOF and fs.fstat(dirs.cur).st_mtime_ns == before:
            break  # else readers changed flags meanwhile, and a listing may miss what is renamed
    return None
