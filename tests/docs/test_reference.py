"""The generated pages of docs/reference are as the code has them, and the others name what is there."""

from __future__ import annotations

import re

import pytest
from blocks import DOCS, REPOSITORY

from maildir_safe import _cli
from maildir_safe._cli import work
from maildir_safe._probe.report import LABELS
from maildir_safe._submission import CONFIGURATION, NO_PERMISSION
from tools import reference


def test_generated_pages_are_current() -> None:
    stale = [path.name for path in reference.stale()]
    assert not stale, f"{stale}: run `python -m tools.reference`"


def test_every_metric_is_described() -> None:
    page = (DOCS / "reference/metrics.md").read_text()
    sources = "".join(path.read_text() for path in (REPOSITORY / "maildir_safe").rglob("*.py"))
    names = set(
        re.findall(r'(?:Counter|Gauge|Histogram|MetricFamily|histogram)\w*\(\s*"(maildir_safe_\w+)"', sources)
    )
    assert len(names) >= 9
    assert [name for name in sorted(names) if name not in page] == []


def test_every_check_of_the_probe_is_described() -> None:
    """Programs use the ids: whoever adds or removes one says so here."""
    page = (DOCS / "reference/probe-checks.md").read_text()
    described = dict(re.findall(r"^\| `([a-z0-9-]+)` \| ([^|]+) \| .+ \|$", page, re.MULTILINE))
    assert described == LABELS


@pytest.mark.parametrize("scheme", work._SCHEMES)
def test_every_courier_of_work_is_described(scheme: str) -> None:
    page = (DOCS / "howto/queue.md").read_text()
    assert re.search(rf"^\| .*`{scheme}:", page, re.MULTILINE)
    assert f"{scheme}:" in work.DESCRIPTION


def test_every_exit_code_is_described() -> None:
    page = (DOCS / "reference/exit-codes.md").read_text()
    described = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    named = {_cli.TEMPORARY, _cli.REFUSED, _cli.USAGE, _cli.WRONG, _cli.INTERRUPTED}
    named |= {NO_PERMISSION, CONFIGURATION}
    assert described == {0} | named
    sources = "".join(path.read_text() for path in (REPOSITORY / "maildir_safe/_cli").glob("*.py"))
    assert {int(code) for code in re.findall(r"return (\d+)\b", sources)} <= described
