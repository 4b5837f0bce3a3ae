"""A pytest plugin: `mailbox.Maildir` is ours before any other module is imported.

``pytest -p mailbox_shim …``. With MAILBOX_SHIM=off the original stays: what fails then fails for itself.
"""

from __future__ import annotations

import mailbox
import os

from maildir_safe.mailbox import Maildir

if os.environ.get("MAILBOX_SHIM") != "off":
    mailbox.Maildir = Maildir  # type: ignore[misc]


def pytest_report_header() -> str:
    return f"mailbox.Maildir is {mailbox.Maildir.__module__}.Maildir"
