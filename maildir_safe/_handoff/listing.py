"""Listing a directory into which others write meanwhile, where what has no known name would count.

vfat keeps two names of a file, and a listing that goes on while names are added may show the wrong
one: ``17EF2C~7.GUE`` in place of ``1795859132.M000123P146Q22R….guest,S=416``. About one listing in
10,000 did, and the next one was right each time (docs/reference/file-systems.md, "vfat"). Whoever renames
what was listed would give the message that name for ever.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem

_ALIAS_LENGTH = 12  # eight characters, a dot, three
_LOOKS = 4


def stable_listing(fs: FileSystem, dir_fd: int, names: list[str] | None = None) -> list[str]:
    """The names in a directory, listed again while it shows what may be a short alias for the first time.

    Args:
        fs: the file system's calls.
        dir_fd: the directory.
        names: a fresh listing, if the caller has one.

    Raises:
        OSError: it cannot be listed.
    """
    names = fs.listdir(dir_fd) if names is None else names
    before: set[str] = set()
    for _ in range(_LOOKS):
        aliases = {name for name in names if "~" in name and len(name) <= _ALIAS_LENGTH}
        if aliases <= before:
            break
        before, names = aliases, fs.listdir(dir_fd)
    return names
