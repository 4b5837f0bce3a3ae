"""Root in a directory that belongs to somebody else: tools refuse, unless they are told what that means."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from maildir_safe._fs.owner import refuse_as_root


def add_as_root(parser: argparse.ArgumentParser) -> None:
    """The option of tools that make and remove files, and that nobody needs to run as root."""
    parser.add_argument(
        "--as-root",
        action="store_true",
        help="as root, work in a directory of another user, who can lead root elsewhere meanwhile",
    )


def check_owner(paths: Iterable[str], args: argparse.Namespace) -> None:
    """Refuse to work as root in another user's directory.

    Raises:
        PermissionError: this is root, a directory is another's, and ``--as-root`` was not given.
        OSError: a directory cannot be looked at.
    """
    if not args.as_root:
        for path in paths:
            refuse_as_root(path)
