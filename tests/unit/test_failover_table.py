"""The table that `python -m benchmarks.failover --write` puts into the page."""

from __future__ import annotations

from benchmarks.failover import FAILURES, HEAD, PAGE, rows_of, written

FIRST, SECOND, THIRD = FAILURES[:3]


def line(about: str, messages: int) -> str:
    return f"| {about} | {messages} | 0 | 0 | 0.1 s | 1.0 s |"


def test_rows_that_did_not_run_stay() -> None:
    old = [line(FIRST.about, 1), line(THIRD.about, 3), line("no longer tried", 9)]
    page = "\n".join(["above", "<!-- failover: begin -->", HEAD, *old, "<!-- failover: end -->", "below"])
    found = written(page, {THIRD.name: line(THIRD.about, 33), SECOND.name: line(SECOND.about, 22)})
    rows = [line(FIRST.about, 1), line(SECOND.about, 22), line(THIRD.about, 33)]
    table = "\n".join(["<!-- failover: begin -->", HEAD, *rows, "<!-- failover: end -->"])
    assert found == f"above\n{table}\nbelow"


def test_the_page_has_every_row() -> None:
    text = PAGE.read_text()
    assert list(rows_of(text)) == [failure.name for failure in FAILURES]
    assert written(text, {}) == text
