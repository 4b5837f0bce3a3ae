"""Several mailboxes in chromium: the list beside the messages, by mailbox, live, and on a phone."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from smtp_support import Serve

from maildir_safe import Maildir

pytestmark = pytest.mark.mounts

ADA, BOB = "ada@example.com", "bob@example.com"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    serve = Serve(tmp_path, "--web", "127.0.0.1:0", "--split", "{domain}/{local}")
    yield serve
    assert serve.end()[0] == 0


@pytest.fixture
def page(browser: Browser, serve: Serve) -> Iterator[Page]:
    context = browser.new_context(base_url=serve.told("Inbox"))
    page = context.new_page()
    yield page
    context.close()


def send(serve: Serve, to: str, subject: str) -> None:
    host, _, port = serve.address.rpartition(":")
    with smtplib.SMTP(host, int(port), timeout=20) as client:
        client.sendmail("me@here.example", [to], f"To: {to}\r\nSubject: {subject}\r\n\r\ntext\r\n")


def box(page: Page, name: str) -> Locator:
    return page.locator(".mailboxes a").filter(has_text=name)


def labels(page: Page) -> list[str]:
    return page.locator(".mailboxes .label").all_inner_texts()


def subjects(page: Page) -> list[str]:
    return page.locator(".messages .subject").all_inner_texts()


def test_each_mailbox_shows_its_own_and_stays_live(page: Page, serve: Serve, tmp_path: Path) -> None:
    send(serve, ADA, "for ada")
    send(serve, BOB, "for bob")
    Maildir(tmp_path / "Maildir/example.com/ada").deliver(b"Subject: filed\n\n", folder="Archive")
    page.goto("/")
    assert labels(page) == ["All mail", ADA, "Archive", BOB]
    assert page.locator(".folder").all_inner_texts() == ["Archive"]
    box(page, ADA).click()
    expect(page.locator(".messages .subject")).to_have_text(["for ada"])
    expect(page).to_have_title(f"(1) {ADA} \u2013 Inbox")
    send(serve, BOB, "another for bob")
    expect(box(page, BOB).locator("b")).to_have_text("2")
    assert subjects(page) == ["for ada"]
    send(serve, ADA, "another for ada")
    expect(page.locator(".messages .subject").first).to_have_text("another for ada")
    send(serve, "new@other.example", "x")
    expect(box(page, "new@other.example")).to_be_visible()


def test_search_delete_and_back_stay_in_the_mailbox(page: Page, serve: Serve) -> None:
    for to in (ADA, BOB):
        send(serve, to, "the code")
        send(serve, to, "another")
    page.goto("/")
    box(page, BOB).click()
    expect(page.locator(".mailboxes [aria-current]")).to_contain_text(BOB)
    page.get_by_role("searchbox").fill("code")
    page.keyboard.press("Enter")
    expect(page.locator(".messages li")).to_have_count(1)
    page.locator(".messages a").click()
    expect(page.locator("h2")).to_have_text("the code")
    page.wait_for_load_state()  # the script listens
    page.keyboard.press("u")
    expect(page.get_by_role("searchbox")).to_have_value("code")
    expect(page.locator(".mailboxes [aria-current]")).to_contain_text(BOB)
    asked: list[str] = []

    def accept(dialog: object) -> None:
        asked.append(dialog.message)  # type: ignore[attr-defined]
        dialog.accept()  # type: ignore[attr-defined]

    page.on("dialog", accept)
    page.get_by_role("button", name="Delete found").click()
    expect(page.locator(".messages li")).to_have_count(1)
    assert asked == [f"Delete the 1 message found by \u201ccode\u201d in {BOB}?"]
    box(page, "All mail").click()
    expect(page.locator(".messages .subject")).to_have_count(3)
    assert sorted(subjects(page)) == ["another", "another", "the code"]


def test_on_a_phone_the_mailboxes_fold_away(browser: Browser, serve: Serve) -> None:
    send(serve, ADA, "for ada")
    context = browser.new_context(base_url=serve.told("Inbox"), viewport={"width": 390, "height": 720})
    page = context.new_page()
    page.goto("/")
    expect(box(page, ADA)).to_be_hidden()
    page.locator(".mailboxes summary").click()
    box(page, ADA).click()
    expect(page.locator(".mailboxes summary")).to_have_text(ADA)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


def test_below_a_path_the_page_stays_live(browser: Browser, tmp_path: Path) -> None:
    serve = Serve(tmp_path, "--web", "127.0.0.1:0", "--web-root", "/mail")
    context = browser.new_context()
    page = context.new_page()
    page.goto(serve.told("Inbox"))
    send(serve, ADA, "for ada")
    expect(page.locator(".messages .subject")).to_have_text(["for ada"])
    page.locator(".messages a").click()
    expect(page.locator("h2")).to_have_text("for ada")
    page.wait_for_load_state()
    page.keyboard.press("d")
    expect(page.locator(".empty h2")).to_have_text("No mail yet")
    context.close()
    assert serve.end()[0] == 0
