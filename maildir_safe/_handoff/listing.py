"""Listing a directory that others write to, for callers that act on every name they see.

vfat keeps two names per file. A listing that runs while names are added may show the short alias:
``17EF2C~7.GUE`` in place of ``1795859132.M000123P146Q22R….guest,S=416``. About one listing in 10,000
did so, and the next listing was always right (docs/reference/file-systems.md, "vfat"). A caller that
renamed the listed name would give the message that name permanently.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem

_ALIAS_LENGTH = 12  # eight characters, a dot, three
_LOOKS = 4


def stable_listing(fs: FileSystem, dir_fd: int, names: list[str] | None = None) -> list[str]:
    """Return the names in a directory; list it again while it shows a new name that may be a short alias.

    Args:
        fs: the file system's calls.
        dir_fd: the directory.
        names: a fresh listing, if the caller already has one.

    Raises:
        OSError: the directory cannot be listed.
    """
    names = fs.listdir(dir_fd) if names is None else names
    before: set[str] = set()
    for _ in range(_LOOKS):
        aliases = {name for name in names if "~" in name and len(name) <= _ALIAS_LENGTH}
        if aliases <= before:
            break
        before, names = aliases, fs.listdir(dir_fd)
    return names
