"""`maildir-safe create`: makes a Maildir, its folders, and gives it to its user."""

from __future__ import annotations

import argparse
import errno
import os
import pwd
import sys

from maildir_safe._cli import USAGE
from maildir_safe._fs.administration import make_directory_for
from maildir_safe._fs.owner import owner_of
from maildir_safe._mailboxes import open_as_owner
from maildir_safe._maildir.folders import folder_directory
from maildir_safe._maildir.maildir import Maildir


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = (
        "Make a Maildir and folders of it. What exists already stays as it is. The directory above must "
        "exist, so that no Maildir is made below a mount point that is not mounted."
    )
    parser.add_argument("path", metavar="PATH")
    parser.add_argument(
        "--folder", action="append", default=[], metavar="NAME", help="a folder to make; may be repeated"
    )
    parser.add_argument("--owner", metavar="USER", help="the user to whom the Maildir belongs (only as root)")


def run(args: argparse.Namespace) -> int:
    """Make them. Returns 0; 64 for wrong arguments; 75 if something cannot be made."""
    path = os.path.abspath(args.path)
    try:
        for name in args.folder:
            folder_directory(name)
        user = _user(args.owner) if args.owner is not None else None
    except ValueError as error:
        print(f"maildir-safe create: {error}", file=sys.stderr)
        return USAGE
    maildir = _make(path, user)
    for name in args.folder:
        maildir.folder(name)
    return 0


def _user(name: str) -> pwd.struct_passwd:
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise ValueError(f"--owner {name}: no such user") from None
    if os.geteuid() not in (0, user.pw_uid):
        raise ValueError(f"--owner {name}: only root can make a Maildir for another user")
    return user


def _make(path: str, user: pwd.struct_passwd | None) -> Maildir:
    if user is None or user.pw_uid == os.geteuid():
        there = os.path.lexists(path)
        owner = owner_of(path if there else os.path.dirname(path))
        return open_as_owner(path, create=not there) if owner else Maildir(path)
    above = owner_of(os.path.dirname(path))  # refuses a path that another user could redirect
    if above is None:
        make_directory_for(path, user.pw_uid, user.pw_gid)
    elif above[0] != user.pw_uid:
        raise PermissionError(errno.EPERM, f"the directory above belongs to uid {above[0]}", path)
    return open_as_owner(path, create=True)  # in the user's own directory only with the user's rights
