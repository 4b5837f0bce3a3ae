"""Messages for the operator, on standard error."""

from __future__ import annotations

import sys

from maildir_safe._delivery.status import one_line
from maildir_safe._fs.journal import is_journal, journal_prefix

_NOTICE = 5  # syslog(3)


def tell(text: str) -> None:
    """Print one line, free of terminal escapes.

    Never raises: standard error may be closed, or its disk full.
    """
    try:
        prefix = journal_prefix(_NOTICE) if is_journal(sys.stderr) else ""
        print(f"{prefix}{one_line(text)}", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        pass
