"""Messages for the operator, on standard error."""

from __future__ import annotations

import sys

from maildir_safe._delivery.status import one_line


def tell(text: str) -> None:
    """Print one line, free of terminal escapes.

    Never raises: standard error may be closed, or its disk full.
    """
    try:
        print(one_line(text), file=sys.stderr, flush=True)
    except (OSError, ValueError):
        pass
