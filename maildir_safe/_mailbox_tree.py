"""Finds the Maildirs that a template of paths describes, and their folders, by listing directories."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._maildir.directories import SUBDIRS
from maildir_safe._maildir.folders import folder_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maildir_safe._fs import FileSystem

INBOX = "INBOX"
"""The name of a Maildir that stands alone."""

MOST = 1000
"""Most Maildirs that are found, folders included."""

_COARSEST = 2.5  # seconds; vfat keeps times in steps of 2
_Listing = tuple[tuple[int, int], float, frozenset[str]]


@dataclass(frozen=True)
class Place:
    """A Maildir that was found.

    Attributes:
        name: ``ada@example.com``, ``ada`` or ``INBOX``; of a folder ``ada@example.com/Sent`` or ``Sent``.
        path: the Maildir; of a folder, the Maildir that it belongs to.
        folder: the folder's name; ``""``: the Maildir itself.
    """

    name: str
    path: str
    folder: str = ""


class MailboxTree:
    """The Maildirs below a directory. Not thread-safe.

    Args:
        root: an absolute path.
        template: the paths of the Maildirs below `root`, such as ``{domain}/{local}``; ``""``: `root` itself
            is the only Maildir.
        most: most Maildirs that are found.
        fs: the file system's calls.

    Attributes:
        many: whether a template is given: then any number of Maildirs may be found, or none.
        complete: whether the last `find` has found all.
    """

    def __init__(self, root: str, template: str = "", most: int = MOST, fs: FileSystem | None = None) -> None:
        self.root, self.many, self.complete = root, bool(template), True
        self._patterns = [_pattern(part) for part in template.split("/") if part]
        self._most = most
        self._fs = fs or OsFileSystem()
        self._known: dict[str, _Listing] = {}
        self._seen: dict[str, _Listing] = {}

    def find(self) -> list[Place]:
        """All Maildirs, sorted by name, each before its folders. Only changed directories are listed again.

        A directory that cannot be listed has no Maildirs.
        """
        found: list[Place] = []
        self._seen, self.complete = {}, True
        for place in self._walk(self.root, 0, {}):
            if len(found) >= self._most:
                self.complete = False
                break
            found.append(place)
        self._known = self._seen
        return sorted(found, key=lambda place: (place.path, place.folder))

    def name_of(self, path: str) -> str:
        """The name of the Maildir at this path, as a template's. Raises ValueError: the path fits none."""
        fields: dict[str, str] = {}
        parts = path.removeprefix(f"{self.root.rstrip('/')}/").split("/")
        for pattern, part in zip(self._patterns, parts, strict=True):
            match = pattern.fullmatch(part)
            if match is None:
                raise ValueError(path)
            fields |= match.groupdict()
        return _name(fields)

    def _walk(self, path: str, depth: int, fields: dict[str, str]) -> Iterator[Place]:
        names = self._names(path)
        if depth == len(self._patterns):
            if not names.issuperset(SUBDIRS):
                return
            name = _name(fields)
            yield Place(name or INBOX, path)
            for entry in sorted(names):
                if len(entry) > 1 and entry[0] == "." and self._names(f"{path}/{entry}").issuperset(SUBDIRS):
                    folder = folder_name(entry)
                    yield Place(f"{name}/{folder}" if name else folder, path, folder)
            return
        for entry in sorted(names):
            match = self._patterns[depth].fullmatch(entry)
            if match and entry[0] != "." and all(fields.get(k, v) == v for k, v in match.groupdict().items()):
                yield from self._walk(f"{path}/{entry}", depth + 1, fields | match.groupdict())

    def _names(self, path: str) -> frozenset[str]:
        """The names in a directory; none if it cannot be listed or is no directory."""
        try:
            fd = self._fs.open_dir(path)
        except OSError:
            return frozenset()
        try:
            state, now = self._fs.fstat(fd), self._fs.monotonic()
            stamp = (state.st_ino, state.st_mtime_ns)
            known = self._known.get(path)
            if known is None or known[0] != stamp:
                known = (stamp, now, frozenset(self._fs.listdir(fd)))
            elif now - known[1] <= _COARSEST:  # it may have changed within the resolution of its time
                known = (stamp, known[1], frozenset(self._fs.listdir(fd)))
        except OSError:
            return frozenset()
        finally:
            self._fs.close(fd)
        self._seen[path] = known
        return known[2]


def _name(fields: dict[str, str]) -> str:
    return "@".join(fields[part] for part in ("local", "domain") if part in fields)


def _pattern(part: str) -> re.Pattern[str]:
    """Matches the names that one part of a template can become."""
    pieces, seen = [], set[str]()
    for text, field, spec, conversion in string.Formatter().parse(part):
        pieces.append(re.escape(text))
        if field is None:
            continue
        if spec or conversion or field in seen:
            pieces.append("[^/]*")
        else:
            seen.add(field)
            pieces.append(f"(?P<{field}>[^/]+)")
    return re.compile("".join(pieces), re.DOTALL)
