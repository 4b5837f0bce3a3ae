"""What `benchmarks.failover` shows of a message that is there twice, and nothing explains it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from benchmarks.failover_count import Count
from benchmarks.failover_evidence import evidence

KEY = "0123456789abcdef"
ONE = f"1790000000.M000001D{KEY}.mx1"
OTHER = f"1790000003.M000002D{KEY}.mx2"


def test_ledger_files_marks_and_logs_of_the_message_are_shown_and_no_others(tmp_path: Path) -> None:
    brick = tmp_path / "s2" / "brick"
    new = brick / "example.com" / "user0" / "new"
    marks = brick / "spool" / "ids" / "01"
    for folder in (new, marks):
        folder.mkdir(parents=True)
    for ident in (ONE, OTHER):
        (new / f"{ident},S=9").write_text(
            f"Received: from client\n by {ident[-3:]}; now\nSubject: run-6-4\n\nx\n"
        )
    (new / "1790000009.M1R00.mx1,S=9").write_text("Subject: run-6-40\n\nx\n")
    (marks / f"{KEY}.1790000003.done").write_text(OTHER)
    ledger = tmp_path / "ledger"
    ledger.write_text("1.0 run-6-4 unanswered\n1.5 run-6-40 250\n2.0 run-6-4 250\n")
    log = tmp_path / "c1.work"
    log.write_text(
        f"{ONE}: to=<user0> 250 delivered\n1790000009.M1R00.mx1: to=<user0> 250 delivered\n"
        + 99 * f"{OTHER}\n"
    )
    shown = evidence(["run-6-4"], ledger, [brick], [log, tmp_path / "missing"])
    text = "\n".join(shown)
    assert shown[:3] == ["run-6-4:", "  ledger: 1.0 run-6-4 unanswered", "  ledger: 2.0 run-6-4 250"]
    for name in (ONE, OTHER):
        assert f"  s2: example.com/user0/new/{name},S=9 inode " in text
        assert f"  s2 trace: Received: from client by {name[-3:]}; now" in text
    assert f"{KEY}.1790000003.done" in text
    assert f"  c1.work: {ONE}: to=<user0> 250 delivered" in text
    assert "  c1.work: ... 60 more" in text
    assert "M1R00" not in text
    assert "run-6-40" not in text
    found = Count(1, [], Counter(), ["run-6-4"], 0.0, 0.0, Counter(), shown)
    assert found.complaints() == ["run-6-4 is doubled, and nothing explains it", *shown]
