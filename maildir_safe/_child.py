"""A module of this package as a process of its own, whatever the current directory holds.

``python -m`` puts the current directory first on the module path: a file `random.py` in a user's
Maildir would run. A child therefore starts with ``-P``, and in ``/``.
"""

from __future__ import annotations

import os
import sys

DIRECTORY = "/"
"""Where a child process starts: pass it as `cwd`, and give the child absolute paths."""

_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def running(code: str, *words: object) -> list[str]:
    """The command that runs some Python code which may import this package.

    Args:
        code: the code; it finds `words` in ``sys.argv[1:]``.

    Returns:
        An argument vector for `subprocess`, to be started in `DIRECTORY`.
    """
    find_us = "import sys; sys.path.append(sys.argv.pop(1)); "  # last: nothing of ours shadows a library
    return [sys.executable, "-P", "-c", find_us + code, _HOME, *map(str, words)]


def command(module: str, *words: object) -> list[str]:
    """The command that runs a module as ``python -m`` does, with these arguments; see `running`."""
    return running(f"import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)", *words)
