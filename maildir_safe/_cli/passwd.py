"""`maildir-safe passwd`: sets a password in the file of `serve --auth`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from maildir_safe._cli import USAGE, WRONG
from maildir_safe._fs.administration import replace_file
from maildir_safe._fs.owner import refuse_to_write_as_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = (
        "Set the password of NAME in FILE, which 'serve --auth FILE' reads at its start. The password is "
        "asked for twice; if standard input is not a terminal, its first two lines are the answers. FILE is "
        "made if it does not exist (mode 0600), and holds a hash."
    )
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("name", metavar="NAME")


def run(args: argparse.Namespace) -> int:
    """Set it. Returns 0; 64 for a name that cannot be; 1 if the answers are empty or differ; 75."""
    from maildir_safe._smtp.protocol.auth import hash_password

    name: str = args.name
    if not name or name != name.strip() or name.startswith("#") or ":" in name or not name.isprintable():
        print("maildir-safe passwd: a name has no colon, no '#' or blank at an end, and is printable",
              file=sys.stderr)  # fmt: skip
        return USAGE
    refuse_to_write_as_root(args.file)
    lines = _lines(args.file)
    first, second = _ask("Password: "), _ask("Again: ")
    if not first or first != second or "\0" in first:
        why = "the two answers differ" if first != second else "a password is not empty and has no NUL"
        print(f"maildir-safe passwd: {why}; nothing was changed", file=sys.stderr)
        return WRONG
    ours = f"{name}:{hash_password(first)}"
    kept = [ours if line.strip().startswith(f"{name}:") else line for line in lines]
    replace_file(args.file, "".join(f"{line}\n" for line in kept + [ours] * (ours not in kept)).encode())
    return 0


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def _ask(prompt: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    from getpass import getpass

    return getpass(prompt)
