"""Checks a Maildir for stray, misplaced, damaged and duplicate messages, and for leftovers."""

from __future__ import annotations

import stat
from collections import defaultdict
from typing import TYPE_CHECKING

from maildir_safe._check.fsck import TROUBLE, Finding, not_looked
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._handoff.listing import stable_listing
from maildir_safe._handoff.rename import close_quietly
from maildir_safe._maildir.compressed import HEAD, compression
from maildir_safe._maildir.maildir import Maildir
from maildir_safe._names import may_be_message, size_of, split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maildir_safe._fs import FileSystem


class MaildirCheck:
    """Checks one Maildir and its folders. Readers and deliveries may run at the same time.

    Args:
        path: the Maildir.
        fix: remove leftovers of interrupted deliveries. Messages are never touched.
        fs: the file system's calls.

    Raises:
        NotAMaildir: the path is not a Maildir, or one of its directories is in conflict; the text says which.
    """

    def __init__(self, path: str, fix: bool = False, fs: FileSystem | None = None) -> None:
        self._fs = fs or OsFileSystem()
        self._path = path
        self._fix = fix
        self._maildir = Maildir(path, create=False, fs=self._fs)

    def run(self) -> Iterator[Finding]:
        """All defects, and all entries that could not be examined."""
        for check in (self._leftovers, self._messages, self._folders):
            try:
                yield from check()
            except TROUBLE as error:
                yield not_looked(self._path, error)

    def _folders(self) -> Iterator[Finding]:
        for name in self._maildir.folders():
            try:
                folder = self._maildir.folder(name, create=False)
                yield from MaildirCheck(folder.path, self._fix, self._fs).run()
            except TROUBLE as error:  # one folder that lacks tmp/ must not hide the others
                yield not_looked(f"{self._path}: folder {name}", error)

    def _leftovers(self) -> Iterator[Finding]:
        report = self._maildir.clean(dry_run=not self._fix)
        for name in report.removed:
            yield Finding(f"{self._path}/{name}", "was left by an interrupted delivery", self._fix)
        for name, why in report.failed:
            yield Finding(f"{self._path}/{name}", f"was left by an interrupted delivery, and stays: {why}")

    def _messages(self) -> Iterator[Finding]:
        keys: dict[str, list[str]] = defaultdict(list)
        for subdir in ("new", "cur"):
            dir_fd = self._fs.open_dir(f"{self._path}/{subdir}")
            try:
                for name in sorted(stable_listing(self._fs, dir_fd)):
                    yield from self._entry(subdir, name, dir_fd)
                    if may_be_message(name):
                        keys[split(name)[0]].append(f"{subdir}/{name}")
            finally:
                close_quietly(self._fs, dir_fd)
        for key, places in keys.items():
            if len(places) > 1 and len(self._still_there(places)) > 1:
                yield Finding(f"{self._path}: {key}", f"is there {len(places)} times: {', '.join(places)}")

    def _entry(self, subdir: str, name: str, dir_fd: int) -> Iterator[Finding]:
        path = f"{self._path}/{subdir}/{name}"
        if name.startswith((".nfs", ".fuse_hidden")):
            yield Finding(path, "was removed while still in use; it goes when it is closed")
            return
        try:
            facts = self._fs.stat(name, dir_fd)
        except FileNotFoundError:
            return  # moved since it was listed
        if not stat.S_ISREG(facts.st_mode) or not may_be_message(name):
            yield Finding(path, "is no message")
            return
        size = size_of(name)
        if facts.st_size == 0:
            yield Finding(path, "is empty")
        elif size != facts.st_size:
            yield from self._other_size(path, name, dir_fd, facts.st_size)
        if subdir == "new" and split(name)[1]:
            yield Finding(path, "has flags, and is in new/")

    def _other_size(self, path: str, name: str, dir_fd: int, size: int) -> Iterator[Finding]:
        """Check a file whose name has another size or none: Dovecot's ``S=`` is the uncompressed size."""
        fd = self._fs.open(name, dir_fd)
        try:
            kind = compression(self._fs.read(fd, HEAD))
        finally:
            close_quietly(self._fs, fd)
        if kind:
            yield Finding(path, f"is compressed ({kind}), which other programs than Dovecot show as it is")
        elif size_of(name) is not None:
            yield Finding(path, f"has {size} bytes, and its name says {size_of(name)}")

    def _still_there(self, places: list[str]) -> list[str]:
        """The places that still exist, since a reader may have moved a message between two listings."""
        listed = set()
        for subdir in ("new", "cur"):
            dir_fd = self._fs.open_dir(f"{self._path}/{subdir}")
            try:
                listed |= {f"{subdir}/{name}" for name in self._fs.listdir(dir_fd)}
            finally:
                close_quietly(self._fs, dir_fd)
        return [place for place in places if place in listed]
