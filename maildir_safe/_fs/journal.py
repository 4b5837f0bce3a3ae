"""Whether a stream leads to systemd's journal, where each line may have a priority."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO


def is_journal(stream: TextIO | None, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a stream leads to systemd's journal: `JOURNAL_STREAM` in systemd.exec(5)."""
    try:
        status = os.fstat(stream.fileno()) if stream else None
    except (OSError, ValueError):  # ValueError: it is closed, or no file
        return False
    return bool(status and environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}")


def journal_prefix(priority: int) -> str:
    """What gives a line in the journal its priority, from 0 to 7 as syslog(3) has them: sd-daemon(3)."""
    return f"<{priority}>"
