"""What every test run prints at its end: the figures that tests noted, and what was left out."""

from __future__ import annotations

import os

import pytest

if "FUZZ_EXAMPLES" in os.environ:  # see fuzz.py
    import hypothesis  # which the guest does not have

    hypothesis.settings.register_profile("fuzz", max_examples=int(os.environ["FUZZ_EXAMPLES"]), database=None)
    hypothesis.settings.load_profile("fuzz")

_notes: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect the lines that tests noted with `record_property("note", text)`."""
    if report.when == "call":
        _notes.extend(str(value) for name, value in report.user_properties if name == "note")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _notes:
        terminalreporter.section("figures")
        for note in _notes:
            terminalreporter.write_line(note)
