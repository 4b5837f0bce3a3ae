"""The arguments of the verbs for people: a usage error is exit 64, not argparse's 2."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from maildir_safe._cli import USAGE


class ArgumentParser(argparse.ArgumentParser):
    """`argparse.ArgumentParser`, with the exit code of sysexits.h for a command that is used wrongly."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and what is wrong with it, and exit."""
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")
