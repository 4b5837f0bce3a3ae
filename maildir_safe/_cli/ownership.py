"""Tools refuse to work as root in another user's directory, unless ``--as-root`` is given."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from maildir_safe._fs.owner import refuse_as_root


def add_as_root(parser: argparse.ArgumentParser) -> None:
    """Declare ``--as-root``, for tools that create and remove files and do not need root."""
    parser.add_argument(
        "--as-root",
        action="store_true",
        help="as root, work in another user's directory; that user can redirect root elsewhere",
    )


def check_owner(paths: Iterable[str], args: argparse.Namespace) -> None:
    """Refuse to work as root in another user's directory.

    Raises:
        PermissionError: this is root, a directory belongs to another user, and ``--as-root`` was not given.
        OSError: a directory cannot be examined.
    """
    if not args.as_root:
        for path in paths:
            refuse_as_root(path)
