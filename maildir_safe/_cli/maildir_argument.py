"""What `ls`, `show` and `clean` have in common: which Maildir, and how to print."""

from __future__ import annotations

import argparse

from maildir_safe._mailboxes import open_as_owner
from maildir_safe._maildir.maildir import Maildir
from maildir_safe.errors import TemporaryError


def add_place(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that say which Maildir, and how to print."""
    parser.add_argument("maildir", metavar="MAILDIR")
    parser.add_argument("-m", dest="folder", metavar="FOLDER", help="a folder of it, as in 'Archive.2026'")
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line")


def open_maildir(path: str, folder: str | None) -> Maildir:
    """The Maildir, or a folder of it; nothing is made. Root opens it as its owner.

    Raises:
        TemporaryError: there is none.
    """
    maildir = open_as_owner(path.rstrip("/") or "/")
    if folder is None:
        return maildir
    try:
        return maildir.folder(folder, create=False)
    except ValueError as error:
        raise TemporaryError(str(error)) from error
