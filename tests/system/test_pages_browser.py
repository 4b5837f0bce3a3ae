"""All pages in chromium: axe-core finds nothing on them; faults and sessions as a tester uses them."""

from __future__ import annotations

import contextlib
import smtplib
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from screenshots import fill
from smtp_support import Serve

from maildir_safe import Maildir

pytestmark = pytest.mark.mounts

VIEWS = ("html", "text", "headers", "parts", "source", "checks")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 390)])
def test_axe_finds_nothing(browser: Browser, serve: Serve, tmp_path: Path, scheme: str, width: int) -> None:
    size = {"width": width, "height": 800}
    context = browser.new_context(base_url=serve.told("Inbox"), color_scheme=scheme, viewport=size)  # type: ignore[arg-type]
    page = context.new_page()
    refuse(page, "550 5.1.1 Gone")
    send(serve, refused=True)
    found = {path: problems(page, path) for path in ("/", "/faults", "/sessions", "/message/none", "/?x=1")}
    fill(tmp_path / "Maildir")
    listed = Maildir(tmp_path / "Maildir").messages()
    keys = [message.key for message in listed if message.subdir == "new"]
    order = max(keys)
    paths = ["/", "/?search=nowhere", "/?search=apples", *(f"/message/{order}?view={view}" for view in VIEWS)]
    found |= {path: problems(page, path) for path in paths}
    context.close()
    assert {path: text for path, text in found.items() if text} == {}


def problems(page: Page, path: str) -> str:
    """What axe-core finds on a page; the mail in the frame is the sender's."""
    page.goto(path)
    found = Axe().run(page, context={"exclude": [["iframe"]]})
    return str(found.generate_report()) if found.violations_count else ""


def refuse(page: Page, reply: str) -> None:
    page.goto("/faults")
    page.get_by_label("Only for").fill("*@slow.example")
    page.get_by_label("Reply").fill(reply)
    page.get_by_role("button", name="Add").click()
    expect(page.locator(".faults li")).to_contain_text(reply)


def send(serve: Serve, refused: bool) -> None:
    with serve.client() as client:
        expected = pytest.raises(smtplib.SMTPRecipientsRefused) if refused else contextlib.nullcontext()
        with expected:
            client.sendmail("me@example.com", ["x@slow.example"], "Subject: slow\r\n\r\ntext\r\n")


def test_a_fault_is_added_shows_in_sessions_and_is_removed(browser: Browser, serve: Serve) -> None:
    context = browser.new_context(base_url=serve.told("Inbox"))
    page = context.new_page()
    page.goto("/")
    page.get_by_role("link", name="Faults").click()
    expect(page.get_by_text("Nothing: all mail is taken.")).to_be_visible()
    refuse(page, "451 4.3.2 Busy")
    send(serve, refused=True)
    page.get_by_role("link", name="Sessions").click()
    expect(page.locator(".sessions .refusal code")).to_have_text("451 4.3.2 Busy")
    expect(page.locator(".sessions summary b").first).to_have_text("1 refused")
    assert "rcpt to:<x@slow.example>" in page.locator(".sessions").inner_text().lower()
    page.goto("/faults")
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Nothing: all mail is taken.")).to_be_visible()
    send(serve, refused=False)
    page.goto("/")
    expect(page.locator(".messages .subject")).to_have_text(["slow"])
    context.close()
