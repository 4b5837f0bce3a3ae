"""Log lines on standard error. A name in a directory that a stranger writes to cannot forge a line."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from maildir_safe._cli.output import visible
from maildir_safe._fs.journal import is_journal, journal_prefix

if TYPE_CHECKING:
    from types import TracebackType

_LINE = "%(asctime)s %(levelname)s %(message)s"
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _OneLine(logging.Formatter):
    """One line per message, without control characters; a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = visible(record.message)
        return super().formatMessage(record)

    def formatException(
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        return visible(super().formatException(ei), keep="\n")


class _ForJournal(_OneLine):
    """The same, each line with its priority."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = journal_prefix(_PRIORITIES.get(record.levelno, 5))
        return prefix + super().format(record).replace("\n", f"\n{prefix}")


def log_to_stderr(level: int) -> None:
    """Write log messages of this level and above to standard error, with the time.

    In systemd's journal each line also has its priority.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter((_ForJournal if is_journal(sys.stderr) else _OneLine)(_LINE))
    logging.basicConfig(level=level, handlers=[handler])


def guard_warnings() -> None:
    """Do the same for warnings of a command that does not log; they are written without the time."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_OneLine())
