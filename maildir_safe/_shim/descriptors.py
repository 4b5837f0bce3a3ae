"""Letting go of descriptors that were inherited."""

from __future__ import annotations

import os


def keep_only(wanted: set[int]) -> None:
    """Close all descriptors but these and standard error; standard input and output become nothing.

    Before any thread is started: it would close those that another has just opened.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(2):
        os.dup2(null, standard)
    for other in map(int, os.listdir("/proc/self/fd")):
        if other > 2 and other not in wanted:
            try:
                os.close(other)
            except OSError:
                pass  # that of the listing itself
