"""Other people's clients of Mailpit's API, unchanged, against a real server: npm's and PyPI's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from mta import need
from smtp_support import Serve, stored

pytestmark = pytest.mark.mounts

HERE = Path(__file__).parent
NOT_OFFERED = {
    "getConfiguration", "getAttachmentThumbnail", "linkCheck", "spamAssassinCheck",
}  # fmt: skip


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Serve]:
    """The server that messages are released to."""
    directory = tmp_path / "sink"
    directory.mkdir()
    sink = Serve(directory)
    yield sink
    assert sink.end()[0] == 0


@pytest.fixture
def serve(tmp_path: Path, sink: Serve) -> Iterator[Serve]:
    relay = ("--relay", f"smtp://{sink.address}", "--relay-to", "*@example.com")
    serve = Serve(tmp_path, "--web", "127.0.0.1:0", *relay)
    yield serve
    assert serve.end()[0] == 0


def run(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_mailpit_api_of_npm(serve: Serve, tmp_path: Path) -> None:
    run(need("npm"), "install", "--no-audit", "--no-fund", "mailpit-api@2.1.0", cwd=tmp_path)
    script = tmp_path / "calls.mjs"
    script.write_text((HERE / "mailpit_calls.mjs").read_text())
    results = json.loads(run(need("node"), script, serve.told("Inbox"), cwd=tmp_path))
    failed = {name: result for name, result in results.items() if result != "passed"}
    assert failed.keys() == NOT_OFFERED, failed
    assert all(" 404 " in text for text in failed.values()), failed
    assert len(results) - len(failed) == 23
    (released,) = stored(tmp_path / "sink/Maildir")
    assert b"Delivered-To: x@example.com\n" in released
    assert b"From: Ada <ada@example.com>\n" in released


def test_events_of_mailpit_api_of_npm(serve: Serve, tmp_path: Path) -> None:
    """Version 1.9.1 is the last that has them."""
    run(need("npm"), "install", "--no-audit", "--no-fund", "mailpit-api@1.9.1", cwd=tmp_path)
    script = tmp_path / "events.mjs"
    script.write_text((HERE / "mailpit_events.mjs").read_text())
    results = json.loads(run(need("node"), script, serve.told("Inbox"), cwd=tmp_path))
    assert set(results.values()) == {"passed"}, results
    assert len(results) == 7


def test_mailpit_api_client_of_pypi(serve: Serve, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "v", cwd=tmp_path)
    run(tmp_path / "v/bin/pip", "install", "-q", "mailpit-api-client==1.0.0", cwd=tmp_path)
    with serve.client() as client:
        for name in ("one", "two"):
            message = EmailMessage()
            message["From"], message["To"] = "Ada <ada@example.com>", "bob@example.org"
            message["Subject"], message["Message-ID"] = name, f"<{name}@x>"
            message["Date"] = "Tue, 03 Feb 2026 10:00:00 +0100"
            message.set_content("text")
            message.add_attachment(b"data", maintype="application", subtype="x", filename="a.bin")
            client.send_message(message)
    url = serve.told("Inbox").rstrip("/")
    results = json.loads(run(tmp_path / "v/bin/python", HERE / "mailpit_calls.py", url, cwd=tmp_path))
    assert set(results.values()) == {"passed"}, results
    assert len(results) == 12
