"""`make serve` in a fresh clone: what the printed line sends is on the page and in mutt; so after kill -9."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from mta import need
from playwright.sync_api import Browser

pytestmark = pytest.mark.mounts

ROOT = Path(__file__).parents[2]
MAKE = ["make", "serve", "SERVE=--smtp 127.0.0.1:0 --web 127.0.0.1:0"]


class Made:
    """`make serve` in a clone.

    Attributes:
        seconds: until it answered.
        banner: what it printed.
    """

    def __init__(self, clone: Path) -> None:
        start = time.monotonic()
        self._log = (clone / "log").open("a")
        self.process = subprocess.Popen(
            MAKE, cwd=clone, stdout=subprocess.PIPE, stderr=self._log, text=True, start_new_session=True
        )
        assert self.process.stdout
        self.banner = ""
        while "Try " not in self.banner:
            line = self.process.stdout.readline()
            assert line, (clone / "log").read_text()
            self.banner += line
        self.seconds = time.monotonic() - start

    def told(self, what: str) -> str:
        match = re.search(rf"^{what} +(.*)$", self.banner, re.MULTILINE)
        assert match, self.banner
        return match[1]

    def kill(self) -> None:
        """kill -9, make and server."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()
        self._log.close()


def mutt(maildir: Path) -> str:
    """What mutt's index shows."""
    rc = maildir.parent / "muttrc"
    rc.write_text(
        f"set mbox_type=Maildir folder={maildir.parent} quit=yes mark_old=no sleep_time=0\n"
        'push "<refresh><quit>"\n'
    )
    command = f"TERM=xterm {need('mutt')} -n -F {rc} -f {maildir}"
    shown = subprocess.run(
        ["script", "-qec", command, "/dev/null"], capture_output=True, timeout=60, check=True
    )
    return shown.stdout.decode(errors="replace")


def on_the_page(browser: Browser, inbox: str, picture: Path) -> list[str]:
    page = browser.new_page()
    page.goto(inbox)
    page.screenshot(path=picture)
    subjects = page.locator(".messages .subject").all_inner_texts()
    page.close()
    return subjects


@pytest.mark.timeout(900)
def test_from_the_clone_to_the_restart(browser: Browser, tmp_path: Path, record_property: object) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    subprocess.run(["make", ".venv/.server"], cwd=clone, check=True, capture_output=True)  # the install
    made = Made(clone)
    try:
        subprocess.run(made.told("Try"), shell=True, check=True, capture_output=True, timeout=60)
        (subject,) = on_the_page(browser, made.told("Inbox"), tmp_path / "before.png")
        assert subject in mutt(clone / "Maildir")
    finally:
        made.kill()
    again = Made(clone)
    try:
        assert on_the_page(browser, again.told("Inbox"), tmp_path / "after.png") == [subject]
        assert subject in mutt(clone / "Maildir")
    finally:
        again.kill()
    note = (
        f"make serve in a fresh clone: up {made.seconds:.1f} s after the install, {again.seconds:.1f} s again"
    )
    record_property("note", f"{note} (wanted: under 15); pictures of the page in {tmp_path}")  # type: ignore[operator]
