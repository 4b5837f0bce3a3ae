"""Mail that programs on this machine submit by `sendmail` or `qmail-queue`, before it is queued."""

from __future__ import annotations

from maildir_safe.errors import PermanentError

USAGE, DATA, NO_PERMISSION, CONFIGURATION = 64, 65, 77, 78


class Rejected(PermanentError):
    """Nothing was queued, and the same call would fail again.

    Args:
        text: the reason.
        exit_code: what `sendmail` exits with, from sysexits.h.
    """

    def __init__(self, text: str, exit_code: int = DATA) -> None:
        super().__init__(text)
        self.exit_code = exit_code
