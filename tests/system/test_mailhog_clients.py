"""Other people's clients of MailHog's API, unchanged, against a real server: npm's, Cypress' and PyPI's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from mta import need
from smtp_support import Serve

pytestmark = pytest.mark.mounts

HERE = Path(__file__).parent


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    serve = Serve(tmp_path, "--web", "127.0.0.1:0")
    with serve.client() as client:
        for name in ("one", "two"):
            message = EmailMessage()
            message["From"], message["To"] = "Ada <ada@example.com>", "bob@example.org"
            message["Subject"] = name
            message.set_content("text")
            message.add_attachment(b"data", maintype="application", subtype="x", filename="a.bin")
            client.send_message(message)
    yield serve
    assert serve.end()[0] == 0


def run(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_mailhog_and_cypress_mailhog_of_npm(serve: Serve, tmp_path: Path) -> None:
    packages = ("mailhog@4.16.0", "cypress-mailhog@2.5.0")
    run(need("npm"), "install", "--no-audit", "--no-fund", "--legacy-peer-deps", *packages, cwd=tmp_path)
    script = tmp_path / "calls.mjs"
    script.write_text((HERE / "mailhog_calls.mjs").read_text())
    results = json.loads(run(need("node"), script, serve.told("Inbox"), cwd=tmp_path))
    assert set(results.values()) == {"passed"}, results
    assert len(results) == 23


def test_mailhog_of_pypi(serve: Serve, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "v", cwd=tmp_path)
    run(tmp_path / "v/bin/pip", "install", "-q", "mailhog==0.1.1", "requests", cwd=tmp_path)
    url = serve.told("Inbox")
    results = json.loads(run(tmp_path / "v/bin/python", HERE / "mailhog_calls.py", url, cwd=tmp_path))
    assert set(results.values()) == {"passed"}, results
    assert len(results) == 10
