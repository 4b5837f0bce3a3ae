"""The arguments that `ls`, `show` and `clean` share, and opening the Maildir."""

from __future__ import annotations

import argparse

from maildir_safe._mailboxes import open_as_owner
from maildir_safe._maildir.maildir import Maildir
from maildir_safe.errors import TemporaryError


def add_place(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that select the Maildir and the output format."""
    parser.add_argument("maildir", metavar="MAILDIR")
    parser.add_argument("-m", dest="folder", metavar="FOLDER", help="a folder of it, such as 'Archive.2026'")
    parser.add_argument("--json", action="store_true", help="print JSON, one object per line")


def open_maildir(path: str, folder: str | None) -> Maildir:
    """Open an existing Maildir, or a folder of it. Root acts as its owner.

    Raises:
        TemporaryError: the Maildir or the folder does not exist.
    """
    maildir = open_as_owner(path.rstrip("/") or "/")
    if folder is None:
        return maildir
    try:
        return maildir.folder(folder, create=False)
    except ValueError as error:
        raise TemporaryError(str(error)) from error
