"""What the tests of torture share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Report = TypeVar("Report")


def until_shown(run: Callable[[float], Report], seconds: float, shows: Callable[[Report], object]) -> Report:
    """Torture for so long, and again for twice as long, until a run has shown something; its report.

    On a busy machine processes are killed before they have done anything.
    """
    report = run(seconds)
    for _ in range(3):
        if shows(report):
            break
        report = run(seconds := 2 * seconds)
    return report
