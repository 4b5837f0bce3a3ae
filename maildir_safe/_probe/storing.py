"""Stores the options that a probe found, where every `Maildir` and `Queue` of the mount reads them."""

from __future__ import annotations

import errno
import json
import os.path
from typing import Any

from maildir_safe import __version__
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._fs.stored_options import STORED, options_path, stored_options
from maildir_safe._handoff.small_files import publish_small_file
from maildir_safe._probe.report import ProbeReport

_BY_TWO = ("shared", "hidden_for")
"""The options that only a probe with two mounts can find out."""


def store(report: ProbeReport) -> None:
    """Write a report's options into the directory that was probed, whole and durable.

    They apply to all mail below that directory. An earlier file is replaced, but options that an earlier
    probe found with a second mount are kept if this probe had none. Sets `ProbeReport.saved`.

    Raises:
        OSError: they could not be written there, or are not trusted when they are read back.
    """
    fs = OsFileSystem()
    fd = fs.open_dir(report.path)
    try:
        mount = fs.mount(fd)
    finally:
        fs.close(fd)
    directory = os.path.abspath(report.path)
    path = options_path(directory)
    options = _options(report)
    if report.hidden_for is None:
        earlier, _ = stored_options(fs, directory, mount)
        options |= {key: earlier[key] for key in _BY_TWO if key in earlier and key not in options}
    about = {"verdict": report.verdict, "fstype": report.fstype, "by": f"maildir-safe {__version__}"}
    data = json.dumps(about | options, indent=1).encode() + b"\n"
    root = fs.open_dir(directory)
    try:
        publish_small_file(fs, root, STORED, data, mode=0o644)
    finally:
        fs.close(root)
    if stored_options(fs, directory, mount) != (options, path):
        why = "written, but not believed: see docs/reference/file-systems.md, 'Options that a probe stores'"
        raise PermissionError(errno.EPERM, why, path)
    report.saved = path


def _options(report: ProbeReport) -> dict[str, Any]:
    found = {key: value for key, value in report.use.items() if key in ("separator", "staging", "shared")}
    return found if report.hidden_for is None else found | {"hidden_for": report.hidden_for}
