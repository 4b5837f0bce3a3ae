"""Letting go of descriptors that were inherited."""

from __future__ import annotations

import os


def keep_only(wanted: set[int], stderr: bool = False) -> None:
    """Close all descriptors but these, and put nothing in the place of the first three.

    Args:
        wanted: what stays open.
        stderr: whether standard error stays, too.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(2 if stderr else 3):
        os.dup2(null, standard)
    for other in map(int, os.listdir("/proc/self/fd")):
        if other > 2 and other not in wanted:
            try:
                os.close(other)
            except OSError:
                pass  # that of the listing itself
