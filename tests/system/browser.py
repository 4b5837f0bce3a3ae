"""Debian's chromium, and a server that counts who comes: the tracker of a hostile message."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip

PATIENCE = 60_000  # ms that `expect` and every action may take: on a busy machine a page loads for seconds


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def waits(page: Page, true: Callable[[], Any], what: str) -> None:
    """Wait until something is true that no locator shows, while the page goes on.

    Raises:
        AssertionError: it stayed false for `PATIENCE`; `what` is named.
    """
    for _ in range(PATIENCE // 50):
        if true():
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"waited in vain for {what}")


def stop_clock(page: Page) -> None:
    """Stop the page's clock: from now on its timers run only when the test lets time pass."""
    page.clock.install()
    page.clock.pause_at(page.evaluate("Date.now() / 1000") + 600)  # it runs until then


class Tracker(ThreadingHTTPServer):
    """Counts.

    Attributes:
        connections: how often somebody connected, whether or not anything was asked.
        paths: what was asked for.
    """

    def __init__(self) -> None:
        self.connections = 0
        self.paths: list[str] = []
        super().__init__(("127.0.0.1", 0), _Answer)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return f"http://127.0.0.1:{self.server_port}"

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Count."""
        self.connections += 1
        return True


class _Answer(BaseHTTPRequestHandler):
    server: Tracker

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "image/svg+xml" if self.path.endswith(".svg") else "text/html")
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>')

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Keep silent."""
