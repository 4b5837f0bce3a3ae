"""What every test run prints at its end: the figures that tests noted, and what was left out."""

from __future__ import annotations

import os

import pytest

if "FUZZ_EXAMPLES" in os.environ:  # see fuzz.py
    import hypothesis  # which the guest does not have

    hypothesis.settings.register_profile("fuzz", max_examples=int(os.environ["FUZZ_EXAMPLES"]), database=None)
    hypothesis.settings.load_profile("fuzz")

# begun first, so that no process is left alone with one of them at the end (run.py)
LONGEST = ("test_guest", "test_torture_mounts", "test_queue_mounts", "test_disk_replay", "test_explore")

_notes: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, then all in their order."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect the lines that tests noted with `record_property("note", text)`."""
    if report.when == "call":
        _notes.extend(str(value) for name, value in report.user_properties if name == "note")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _notes:
        terminalreporter.section("figures")
        for note in _notes:
            terminalreporter.write_line(note)
