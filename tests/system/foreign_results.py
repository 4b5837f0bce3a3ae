"""A pytest plugin: writes what became of each test into the JSON file that FOREIGN_RESULTS names."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

_results: dict[str, str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """The worst of a test's set-up, call and end; for a failure its last lines."""
    name = report.nodeid.rpartition("/")[2]
    if report.failed:
        _results[name] = f"failed: {report.longreprtext[-2000:]}"
    elif report.skipped and not hasattr(report, "wasxfail"):
        _results[name] = f"skipped: {report.longreprtext[-500:]}"
    elif report.when == "call":
        _results.setdefault(name, "passed")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A file that cannot be imported is a failure of all that is in it."""
    if report.failed:
        _results[report.nodeid.rpartition("/")[2]] = f"failed: {report.longreprtext[-2000:]}"


def pytest_sessionfinish() -> None:
    Path(os.environ["FOREIGN_RESULTS"]).write_text(json.dumps(_results))
