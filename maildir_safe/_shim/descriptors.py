"""Closing inherited descriptors."""

from __future__ import annotations

import os


def keep_only(wanted: set[int]) -> None:
    """Close all descriptors except these and standard error; standard input and output become /dev/null.

    Call this before any thread is started: it would close descriptors that another thread has just opened.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(2):
        os.dup2(null, standard)
    for other in map(int, os.listdir("/proc/self/fd")):
        if other > 2 and other not in wanted:
            try:
                os.close(other)
            except OSError:
                pass  # the descriptor of the listing itself
