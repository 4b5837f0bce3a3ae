"""The picture of the SMTP benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.smtp_picture import draw, label, medians
from benchmarks.smtp_servers import CHASQUID, DOVECOT, FRONT, MAILBOX, POSTFIX, SMTP

RATES = {
    f"{DOVECOT}, 32": [650.0, 640.0, 900.0],
    f"{DOVECOT}, 8": [9.0],
    f"{SMTP}, 32": [2000.0],
    f"{FRONT}, 32": [5000.0],
}


def test_the_fastest_comes_first_with_its_median() -> None:
    assert list(medians({"rates": RATES}, 32).items()) == [(FRONT, 5000.0), (SMTP, 2000.0), (DOVECOT, 650.0)]


def test_what_is_not_durable_is_said() -> None:
    durable = [SMTP, DOVECOT]
    assert [label(name) for name in durable] == durable
    assert label(POSTFIX).endswith("(the file is durable)")
    assert label(MAILBOX).endswith("(the file is durable)")
    assert label(CHASQUID).endswith("(nothing is durable)")


@pytest.mark.parametrize("limit", [True, False])
def test_it_is_drawn(limit: bool, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rates = medians({"rates": RATES}, 32)
    if not limit:
        del rates[FRONT]
    draw(rates, {"message_bytes": 4096, "cpus": 2, "mount": "ext4"}, tmp_path / "smtp.png")
    assert (tmp_path / "smtp.png").read_bytes().startswith(b"\x89PNG")
