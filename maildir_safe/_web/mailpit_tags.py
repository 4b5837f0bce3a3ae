"""The tags of messages, in one small file in the Maildir, or in the directory above several Maildirs.

They survive a restart and a change of flags.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable

from starlette.exceptions import HTTPException

from maildir_safe._maildir.side_file import SideFiles
from maildir_safe._web.parameters import bad
from maildir_safe.errors import TemporaryError

FILE = "maildir-safe-tags"
"""Name of the file: a JSON object with the tags of each message, by its key."""

_VALID = re.compile(r"[a-zA-Z0-9 ._@-]{1,100}")
_MOST_OF_ONE = 100
_MOST_GONE = 10_000
_LARGEST = 32 << 20


class Tags:
    """The tags. Thread-safe. One server at a time may change them.

    Args:
        files: the directory that holds the file.
        exists: tells whether a key is a message's. The tags of others are not shown, and are dropped when
            there are many.
    """

    def __init__(self, files: SideFiles, exists: Callable[[str], bool]) -> None:
        self._files, self._exists = files, exists
        self._lock = threading.Lock()
        self._found: dict[str, list[str]] | None = None

    def of(self, key: str) -> list[str]:
        """The tags of a message, sorted. Raises TemporaryError: the file cannot be read."""
        return self._all().get(key, [])

    def counts(self) -> dict[str, int]:
        """The number of messages with each tag, sorted by tag. Raises TemporaryError."""
        there = [tags for key, tags in self._all().items() if self._exists(key)]
        return dict(sorted(Counter(tag for tags in there for tag in tags).items()))

    def put(self, keys: Iterable[str], tags: Iterable[str]) -> None:
        """Give messages exactly these tags, durably.

        Raises:
            HTTPException: 400, a tag is malformed. TemporaryError: perhaps not stored.
        """
        proper = sorted({tag.lower(): tag for tag in map(valid, tags)}.values())
        if len(proper) > _MOST_OF_ONE:
            raise bad(f"Tags: more than {_MOST_OF_ONE}")
        changes = dict.fromkeys(keys, proper)
        self._change(lambda found: found | changes)

    def rename(self, old: str, new: str | None) -> bool:
        """Replace a tag in all messages, or remove it (None); return False if no message has it.

        Raises:
            HTTPException: 400, the new tag is malformed. TemporaryError: perhaps not stored.
        """
        if old not in self.counts():
            return False
        instead = [] if new is None else [valid(new)]

        def replaced(tags: list[str]) -> list[str]:
            return sorted({*tags, *instead} - {old} | {*instead}) if old in tags else tags

        self._change(lambda found: {key: replaced(tags) for key, tags in found.items()})
        return True

    def _all(self) -> dict[str, list[str]]:
        found = self._found
        if found is None:
            with self._lock:
                found = self._found = self._read()
        return found

    def _change(self, change: Callable[[dict[str, list[str]]], dict[str, list[str]]]) -> None:
        with self._lock:
            changed = change(self._read())
            changed = {key: tags for key, tags in changed.items() if tags}
            gone = [key for key in changed if not self._exists(key)]
            if len(gone) > _MOST_GONE:  # a listing may miss a message that moves, so not at once
                changed = {key: tags for key, tags in changed.items() if self._exists(key)}
            data = json.dumps(changed, separators=(",", ":"), sort_keys=True).encode()
            if len(data) > _LARGEST:
                raise bad("Tags: there is no room for more")
            self._found = None  # after an error the file says what is true
            self._files.write(FILE, data)
            self._found = changed

    def _read(self) -> dict[str, list[str]]:
        raw = self._files.read(FILE, _LARGEST)
        if raw is None:
            return {}
        try:
            found = json.loads(raw)
            return {str(key): [valid(str(tag)) for tag in tags] for key, tags in found.items()}
        except (ValueError, TypeError, AttributeError, RecursionError, HTTPException):
            raise TemporaryError(f"{self._files.path}/{FILE} is damaged: repair or remove it") from None


def valid(tag: str) -> str:
    """A tag without surrounding blanks. Raises HTTPException: 400."""
    proper = " ".join(tag.split())
    if not _VALID.fullmatch(proper):
        raise bad(f"Tags: {tag[:100]!r} is not made of 1 to 100 letters, digits, blanks and . _ @ -")
    return proper
