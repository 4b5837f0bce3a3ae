"""An index of decoded texts for the search: SQLite's FTS5 in the user's cache directory. Never the truth.

The Maildir is the truth: a row counts only after the message's file was compared with it in this run, and
only while the message is listed. A file that is damaged, or of another version, is made anew. Another
process that uses the same file keeps it: this one searches without an index.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from maildir_safe import __version__

T = TypeVar("T")


FIELDS = ("from", "to", "cc", "bcc", "reply-to", "subject", "message-id")
"""The fields that are searched each for itself, beside the body and all text."""

_SCHEMA = f"1 {__version__} {unicodedata.unidata_version}"
_LONGEST = 1 << 20
_MOST_PAGES = 1 << 19  # of 4 KiB
_MOST_TRIGRAMS = 8
_MANY = 8  # from an eighth of the rows on
_REMEMBERED = 8
_KEPT = 30 * 86400
_NOT_DAMAGED = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN", "SQLITE_FULL", "SQLITE_READONLY")
_COLUMNS = ", ".join(f'"{name}" TEXT NOT NULL' for name in FIELDS)
_TABLES = f"""
CREATE TABLE version (text TEXT NOT NULL);
CREATE TABLE mail (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, size INTEGER NOT NULL,
  changed INTEGER NOT NULL, attachments INTEGER NOT NULL, inlines INTEGER NOT NULL,
  start INTEGER NOT NULL, length INTEGER NOT NULL, {_COLUMNS});
CREATE VIRTUAL TABLE words USING fts5(text, detail=none, tokenize='trigram case_sensitive 1');
"""
_INSERT = f"INSERT INTO mail VALUES ({', '.join('?' * (8 + len(FIELDS)))})"


_Places = tuple[list[str], tuple[list[int | None], dict[int, int], list[int]]]
_NO_PLACES: _Places = ([], ([], {}, []))


class Needle(NamedTuple):
    """What a message must contain.

    Attributes:
        where: ``text``, ``body``, ``attachments``, ``inlines``, or names of `FIELDS` separated by blanks.
        what: the folded text; ``""`` for attachments and inlines.
    """

    where: str
    what: str = ""


@dataclass(slots=True)
class Document:
    """What the index keeps of a message. All texts are folded.

    Attributes:
        key: the message's id in the mailbox set.
        stamp: size and time of change of its file.
        text: all its text.
        body: the part of it that is the body.
        fields: the text of each of `FIELDS`.
        attachments, inlines: how many it has.
    """

    key: str
    stamp: tuple[int, int]
    text: str
    body: str
    fields: dict[str, str]
    attachments: int
    inlines: int


class Answer:
    """Which rows have the needles. Rows added later are not in it.

    Args:
        index: the index.
        last: the last row when the index was asked.
        hits: the rows with each needle.
    """

    def __init__(self, index: SearchIndex, last: int, hits: dict[Needle, set[int]]) -> None:
        self._index, self._last, self.hits = index, last, hits

    def row(self, key: str) -> int | None:
        """The row of a message; None: look at the message itself."""
        row = self._index.rows.get(key)
        return row if row is not None and row <= self._last else None

    def found(self, ids: list[str]) -> tuple[list[str], list[str]]:
        """Those of some messages that have all needles, and those at which the caller must look itself.

        Both lists are in the order of `ids`. What is the same list as before costs nothing but its hits.
        """
        rows_of, places, without = self._index.places(ids)
        rows = set.intersection(*sorted(self.hits.values(), key=len))
        if len(rows) > len(ids) // _MANY:
            known = [key for key, row in zip(ids, rows_of, strict=True) if row in rows]
        else:
            known = [ids[at] for at in sorted([places[row] for row in rows if row in places])]
        if self._index.last > self._last:
            without = [at for at, row in enumerate(rows_of) if row is None or row > self._last]
        return known, [ids[at] for at in without]


def cache_directory() -> Path:
    """Our directory in the user's cache directory. Raises RuntimeError: the user has no home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "maildir-safe"


def index_path(root: str) -> Path:
    """The file of a Maildir's index. Raises OSError, RuntimeError."""
    real = Path(root).resolve()
    identity = f"{real}\0{real.stat().st_ino}"
    return cache_directory() / f"{hashlib.sha256(os.fsencode(identity)).hexdigest()[:32]}.search"


class SearchIndex:
    """The index of one mailbox set. Thread-safe. It answers None where it cannot help.

    Args:
        path: its file. The directory is made, and must be this user's.

    Attributes:
        rows: the row of each message whose file was compared in this run.
        stored: the rows of earlier runs that were not compared yet: row, size and time of change.
        last: the last row.

    Raises:
        OSError, sqlite3.Error: there can be no index: no such directory, no FTS5, or another process has it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._until = float("inf")
        self.last = 0
        self.rows: dict[str, int] = {}
        self.stored: dict[str, tuple[int, tuple[int, int]]] = {}
        self._remembered: dict[Needle, set[int]] = {}
        self._places: _Places = _NO_PLACES
        self._closed = False
        _prepare(path.parent)
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorname in _NOT_DAMAGED:
                raise
            self._rebuild()

    def ask(self, needles: Iterable[Needle], seconds: float) -> Answer | None:
        """Which rows have each of the needles; None: not known, or not in this time.

        Args:
            needles: what is sought.
            seconds: how long it may take.
        """
        wanted = list(dict.fromkeys(needles))
        if not self.rows or any(_odd(needle.what) for needle in wanted):
            return None
        with self._lock:
            self._until = time.monotonic() + seconds
            hits = self._guarded(lambda: {needle: self._hits(needle) for needle in wanted})
            self._until = float("inf")
            return None if hits is None else Answer(self, self.last, hits)

    def places(self, ids: list[str]) -> tuple[list[int | None], dict[int, int], list[int]]:
        """The row of each id of a list; at which place of it each row is; and the places without a row."""
        with self._lock:
            if self._places[0] is not ids:
                rows = [*map(self.rows.get, ids)]
                of_row = {row: at for at, row in enumerate(rows) if row is not None}
                without = [at for at, row in enumerate(rows) if row is None]
                self._places = ids, (rows, of_row, without)
            return self._places[1]

    def confirm(self, key: str, stamp: tuple[int, int]) -> bool:
        """Count a row of an earlier run again if the message's file is the same; if not, remove the row."""
        with self._lock:
            row, stored = self.stored.pop(key, (0, (-1, -1)))
            if row and stored == stamp:
                self._places = _NO_PLACES
                self.rows[key] = row
                return True
            if row:
                self._guarded(lambda: self._delete([row]))
            return False

    def add(self, documents: list[Document]) -> bool:
        """Add messages; False: there is no room. Those that the index cannot hold exactly are left out."""
        with self._lock:
            done = self._guarded(lambda: self._add([one for one in documents if _fits(one)]))
            return done is not None

    def remove(self, keys: list[str]) -> None:
        """Remove messages that are gone."""
        with self._lock:
            self._places = _NO_PLACES
            known = [self.rows.pop(key, 0) or self.stored.pop(key, (0, (0, 0)))[0] for key in keys]
            self._guarded(lambda: self._delete([row for row in known if row]))

    def close(self) -> None:
        """Close the file."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._closed = True
            self._db.close()

    def _open(self) -> None:
        self._path.touch(0o600)
        self._db = db = sqlite3.connect(self._path, 0.2, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA locking_mode = EXCLUSIVE")  # no shared memory: the home may be on a network
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA max_page_count = {_MOST_PAGES}")
            db.execute("BEGIN IMMEDIATE")
            if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                for statement in _TABLES.split(";"):
                    db.execute(statement)
                db.execute("INSERT INTO version VALUES (?)", (_SCHEMA,))
            elif db.execute("SELECT text FROM version").fetchall() != [(_SCHEMA,)]:
                raise _wrong_version()
            self.stored = {
                key: (row, (size, changed))
                for row, key, size, changed in db.execute("SELECT id, key, size, changed FROM mail")
            }
            db.execute("COMMIT")
        except sqlite3.Error:
            db.close()
            raise
        self.last = max((row for row, _ in self.stored.values()), default=0)
        db.set_progress_handler(lambda: time.monotonic() > self._until, 1000)

    def _rebuild(self) -> None:
        self.rows, self.stored, self._remembered, self._places = {}, {}, {}, _NO_PLACES
        for end in ("", "-wal", "-shm", "-journal"):
            self._path.with_name(self._path.name + end).unlink(missing_ok=True)
        self._open()

    def _guarded(self, what: Callable[[], T]) -> T | None:
        """Do something with the file. After damage, make it anew; without room or time, do without."""
        if self._closed:
            return None
        try:
            return what()
        except sqlite3.OperationalError:  # interrupted, full, or a read error
            self._roll_back()
        except (sqlite3.DatabaseError, UnicodeError):
            self._roll_back()
            try:
                self._db.close()
                self._rebuild()
            except (sqlite3.Error, OSError):
                self._closed, self.rows, self.stored, self._places = True, {}, {}, _NO_PLACES
        return None

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _add(self, documents: list[Document]) -> int:
        self._remembered.clear()
        added, row = {}, self.last
        self._db.execute("BEGIN")
        for one in documents:
            row += 1
            start = one.text.find(one.body)
            fields = [one.fields[name] for name in FIELDS]
            counts = (one.attachments, one.inlines, start + 1, len(one.body))
            self._db.execute(_INSERT, (row, one.key, *one.stamp, *counts, *fields))
            self._db.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (row, one.text))
            added[one.key] = row
        self._db.execute("COMMIT")
        self.last = row
        self._places = _NO_PLACES
        self.rows |= added
        return len(added)

    def _delete(self, rows: list[int]) -> None:
        self._remembered.clear()
        self._db.execute("BEGIN")
        for row in rows:
            self._db.execute("DELETE FROM words WHERE rowid = ?", (row,))
            self._db.execute("DELETE FROM mail WHERE id = ?", (row,))
        self._db.execute("COMMIT")

    def _hits(self, needle: Needle) -> set[int]:
        known = self._remembered.get(needle)
        if known is None:
            match = "" if needle.where not in ("text", "body") else _match(needle.what)
            if match and self._has_many(match):
                match = ""
            sql, values = _select(needle, match)
            rows = self._db.execute(sql, values).fetchone()[0]
            known = set(map(int, rows.split(","))) if rows else set()
            if len(self._remembered) >= _REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[needle] = known
        return known

    def _has_many(self, match: str) -> bool:
        """Whether trigrams are in so many rows that it is faster to look at each text, one after another."""
        many = len(self.rows) // _MANY
        counted = "SELECT count(*) FROM (SELECT rowid FROM words WHERE words MATCH ? LIMIT ?)"
        return many > 0 and self._db.execute(counted, (match, many)).fetchone()[0] == many


def _wrong_version() -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError("an index of another version")
    error.sqlite_errorname = "SQLITE_SCHEMA"
    return error


def _match(what: str) -> str:
    """The query for some of a text's trigrams; ``""``: it has none."""
    grams = [what[at : at + 3] for at in range(len(what) - 2)]
    grams = [*dict.fromkeys(grams[:: max(1, len(grams) // _MOST_TRIGRAMS)])][:_MOST_TRIGRAMS]
    return " AND ".join('"' + gram.replace('"', '""') + '"' for gram in grams)


def _select(needle: Needle, match: str) -> tuple[str, list[str]]:
    """The statement that returns the rows with a needle, as one text: a row for each costs more to fetch.

    Trigrams propose rows, and the text decides. Without trigrams, all texts are looked at.
    """
    what = needle.what
    if needle.where in ("attachments", "inlines"):
        return f"SELECT group_concat(id) FROM mail WHERE {needle.where} > 0", []
    if needle.where not in ("text", "body"):
        names = [f'instr("{name}", ?)' for name in needle.where.split() if name in FIELDS]
        return f"SELECT group_concat(id) FROM mail WHERE {' OR '.join(names)}", [what] * len(names)
    # FTS5 keeps the texts in this table; to read it past FTS5 is faster if every text is read
    table, text, where, values = "words_content", "c0", "", list[str]()
    if match:
        table, text, where, values = "words", "text", "words MATCH ? AND ", [match]
    row = "id" if table == "words_content" else "rowid"
    if needle.where == "text":
        return f"SELECT group_concat({row}) FROM {table} WHERE {where}instr({text}, ?)", [*values, what]
    joined = f"SELECT group_concat(mail.id) FROM {table} JOIN mail ON mail.id = {table}.{row}"
    return f"{joined} WHERE {where}instr(substr({text}, start, length), ?)", [*values, what]


def _odd(text: str) -> bool:
    """Whether SQLite may see a text differently: it holds NUL, or half a surrogate pair."""
    if text.isascii():
        return "\0" in text
    return "\0" in text or any("\ud800" <= c <= "\udfff" for c in text)


def _fits(one: Document) -> bool:
    texts = [one.key, one.text, *one.fields.values()]
    return len(one.text) <= _LONGEST and one.body in one.text and not any(map(_odd, texts))


def _prepare(directory: Path) -> None:
    """Make the directory, for this user alone, and remove indexes that were not used for a month."""
    directory.mkdir(0o700, parents=True, exist_ok=True)
    facts = directory.lstat()
    if directory.is_symlink() or facts.st_uid != os.geteuid():
        raise PermissionError(f"{directory} is not this user's directory")
    directory.chmod(0o700)
    for path in directory.glob("*.search*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _KEPT:
                path.unlink()
