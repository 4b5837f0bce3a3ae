"""Every mutant is killed by its scenario, which the real code passes. A survivor fails this."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mutants import MUTANTS, Mutant, table

from maildir_safe.testing.invariants import INVARIANTS, Violation

DOCS = Path(__file__).parents[2] / "docs"
PROOF = DOCS / "explanation/proof.md"
PAGE = DOCS / "development/mutants.md"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.breaks.__name__)
def test_killed(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.run()  # the real code passes
    mutant.breaks(monkeypatch)
    with pytest.raises(Violation) as caught:
        mutant.run()
    assert caught.value.name == mutant.killed_by, str(caught.value)


def test_every_invariant_has_killed_a_mutant() -> None:
    assert {mutant.killed_by for mutant in MUTANTS} == set(INVARIANTS)


def test_the_published_tables_are_current(record_property: Callable[[str, object], None]) -> None:
    proof = PROOF.read_text()
    assert table() in PAGE.read_text(), (
        "docs/development/mutants.md is old: paste what `python tests/crash/mutants.py` prints"
    )
    assert all(f"| {name} | {text} |" in proof for name, text in INVARIANTS.items())
    record_property("note", f"mutants: {len(MUTANTS)} of {len(MUTANTS)} killed (docs/development/mutants.md)")
