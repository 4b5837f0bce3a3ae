"""`make lab` fails for what is new: a promise that does not hold, and a known exception that has gone."""

from __future__ import annotations

import pytest

from benchmarks.mounts import KINDS
from tests import lab

CASE = next(iter(lab.KNOWN))


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({("ext4", "the_drop_in"): "PASSED", ("ext4", "verdict"): "SAFE", CASE: "FAILED"}, []),
        ({("ext4", "the_drop_in"): "FAILED"}, ["ext4: the_drop_in failed"]),
        ({("ext4", "not_a_column"): "ERROR"}, ["ext4: not_a_column failed"]),
        ({CASE: "PASSED"}, [f"{CASE[0]}: {CASE[1]} passed: no exception any more"]),
    ],
)
def test_what_is_new_is_told(found: lab.Outcomes, told: list[str]) -> None:
    assert lab.surprises(found) == told


def test_known_exceptions_name_kinds_and_columns() -> None:
    assert {kind for kind, _ in lab.KNOWN} <= set(KINDS)
    assert {test for _, test in lab.KNOWN} <= set(lab.COLUMNS)
