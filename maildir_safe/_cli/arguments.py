"""The argument parser of the verbs for people: a usage error is exit code 64, not argparse's 2."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from maildir_safe._cli import USAGE

STAGING = (
    "write messages first into tmp/, or (new) into their target directory under a dot name "
    "(default: as the mount needs)"
)
"""The help of --staging."""


class ArgumentParser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` whose exit code for a usage error is the one of sysexits.h."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, and exit."""
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def add_staging(parser: argparse.ArgumentParser) -> None:
    """Declare --staging, for the verbs that write messages into Maildirs; `deliver` parses its own."""
    parser.add_argument("--staging", choices=("tmp", "new"), default=None, help=STAGING)
