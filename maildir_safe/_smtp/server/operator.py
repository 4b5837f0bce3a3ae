"""A line for the operator, on standard error."""

from __future__ import annotations

import sys

from maildir_safe._delivery.status import one_line


def tell(text: str) -> None:
    """Print one line that cannot steer a terminal. Never raises: nobody may read it, or its disk be full."""
    try:
        print(one_line(text), file=sys.stderr, flush=True)
    except (OSError, ValueError):
        pass
