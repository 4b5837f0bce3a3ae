"""Lines in systemd's journal have their priority, and others have none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._fs.journal import is_journal
from maildir_safe._smtp.server.message_log import MessageLog

CLIENT = SimpleNamespace(peer="127.0.0.1", lmtp=False)
MAIL = SimpleNamespace(message_id="", sender="a@example.org", recipients=[])
SCRIPT = """
import logging
from maildir_safe._cli.log_lines import log_to_stderr
log_to_stderr(logging.DEBUG)
for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
    logging.log(level, "a line")
try:
    1 / 0
except ZeroDivisionError:
    logging.exception("trouble")
"""


def stream_of(path: Path) -> str:
    path.touch()
    return f"{path.stat().st_dev}:{path.stat().st_ino}"


def lines_of(log: Path, stream: str) -> list[str]:
    with log.open("w") as stderr:
        env = {**os.environ, "JOURNAL_STREAM": stream}
        subprocess.run([sys.executable, "-c", SCRIPT], stderr=stderr, env=env, check=True)
    return log.read_text().splitlines()


def test_a_log_in_the_journal_has_priorities(tmp_path: Path) -> None:
    lines = lines_of(tmp_path / "log", stream_of(tmp_path / "log"))
    assert [line[:3] for line in lines[:4]] == ["<7>", "<6>", "<4>", "<3>"]
    assert all(line.startswith("<3>") for line in lines[4:])
    assert lines[-1] == "<3>ZeroDivisionError: division by zero"


def test_standard_error_that_was_led_elsewhere_has_none(tmp_path: Path) -> None:
    assert not any(line.startswith("<") for line in lines_of(tmp_path / "log", stream_of(tmp_path / "other")))


@pytest.mark.parametrize("there", [True, False])
def test_lines_of_serve(there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", stream_of(tmp_path / ("log" if there else "other")))
    with (tmp_path / "log").open("w") as stream:
        log = MessageLog(stream)
        log.message(CLIENT, MAIL, 9, [RecipientStatus(250, "2.6.0 stored", stored="x")], 0.1, refused=[])
        log.refused(CLIENT, "RCPT", "550 5.1.1 no")
        log.wrong_password(CLIENT, "bob")
        log.failure(CLIENT, OSError("no"))
    starts = [line.partition("2")[0] for line in (tmp_path / "log").read_text().splitlines()]
    assert starts == (["<6>", "<5>", "<4>", "<3>"] if there else [""] * 4)


def test_what_is_no_file_is_not_the_journal() -> None:
    assert not is_journal(None, {"JOURNAL_STREAM": "0:0"})
