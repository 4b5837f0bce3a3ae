"""What a new user does with the page, in chromium: each task by what the page itself offers."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from smtp_support import Serve

from maildir_safe import Maildir

pytestmark = pytest.mark.mounts

SLOW = 60_000  # milliseconds, for what the page does by itself


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """A server with the mail of a shop: 200 messages to 40 people."""
    path = tmp_path_factory.mktemp("shop")
    maildir = Maildir(path / "Maildir")
    for number in range(200):
        subject = ("Your order is on its way", "Welcome", "Invoice", "Reset your password")[number % 4]
        maildir.deliver(mail(f"user{number % 40}@example.com", subject, f"Your code is {481000 + number}\n"))
    serve = Serve(path, "--web", "127.0.0.1:0")
    yield serve
    assert serve.end()[0] == 0


@pytest.fixture(params=[("light", 1100), ("dark", 390)], ids=["desk", "phone"])
def page(browser: Browser, shop: Serve, request: pytest.FixtureRequest) -> Iterator[Page]:
    scheme, width = request.param
    size = {"width": width, "height": 800}
    context = browser.new_context(base_url=shop.told("Inbox"), color_scheme=scheme, viewport=size)  # type: ignore[arg-type]
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto("/")
    yield page
    context.close()


def mail(to: str, subject: str, text: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Shop <hello@shop.example>", to, subject
    message.set_content(text)
    return message


def search_on(page: Page) -> None:
    """A slow machine needs more than one turn to read all messages."""
    expect(page.locator(".mails .note").first).to_be_visible()
    while page.get_by_role("link", name="Search the rest").count():
        with page.expect_navigation():
            page.get_by_role("link", name="Search the rest").click()


def test_one_mail_among_200_and_its_code_with_the_keyboard(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("user7@example.com password")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    search_on(page)
    expect(page.locator(".messages .to")).to_have_text(["user7@example.com"] * 5)
    page.keyboard.press("j")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.locator("h2")).to_have_text("Reset your password")
    page.get_by_role("button", name="Copy the code 481167").click()
    page.wait_for_function("navigator.clipboard.readText().then((text) => text === '481167')")
    with page.expect_navigation():
        page.keyboard.press("u")
    expect(page.get_by_role("searchbox")).to_have_value("user7@example.com password")


def test_a_fault_for_bob_once_is_seen_to_happen(page: Page, shop: Serve) -> None:
    page.get_by_role("link", name="Faults").click()
    page.get_by_label("Only for").fill("bob")
    page.get_by_label("Reply").fill("450")
    page.get_by_label("How many times").fill("1")
    page.get_by_role("button", name="Add").click()
    expect(page.locator(".faults li")).to_contain_text("for bob@*, once more")
    page.get_by_label("Reply").fill("451 half typed")
    with shop.client() as client, pytest.raises(smtplib.SMTPRecipientsRefused):
        client.sendmail("me@shop.example", ["bob@example.com"], "Subject: for bob\r\n\r\n")
    expect(page.locator(".faults li")).to_contain_text("used up", timeout=SLOW)
    expect(page.get_by_label("Reply")).to_have_value("451 half typed")
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Nothing: all mail is taken.")).to_be_visible()


def test_why_a_recipient_is_refused_is_seen_as_it_happens(page: Page, shop: Serve) -> None:
    page.get_by_role("link", name="Sessions").click()
    page.wait_for_url("**/sessions")
    before = page.locator(".sessions summary b").count()
    with shop.client() as client:
        client.helo()
        client.docmd("MAIL FROM:<me@shop.example>")
        assert client.docmd("RCPT TO:<no such address>")[0] in (501, 553)
    expect(page.locator(".sessions summary b")).to_have_count(before + 1, timeout=SLOW)
    expect(page.locator(".sessions summary code").first).to_contain_text("RCPT TO:<no such address>: 5")
    expect(page.locator(".sessions details").first.locator(".refusal").first).to_be_visible()


def test_a_closed_session_stays_closed(page: Page, shop: Serve) -> None:
    with shop.client() as client:
        client.noop()
    page.goto("/sessions")
    first = page.locator(".sessions details").first
    name = first.get_attribute("id")
    first.locator("summary").focus()
    page.keyboard.press("Enter")
    with shop.client() as client:
        client.noop()
    expect(page.locator(".sessions details").first).not_to_have_id(name or "", timeout=SLOW)
    assert page.locator(f"#{name}").evaluate("one => one.open") is False
    assert page.evaluate("document.activeElement.parentElement.id") == name


def test_the_unread_ones_only(page: Page) -> None:
    with page.expect_navigation():
        page.get_by_role("link", name="unread").click()
    expect(page.get_by_role("searchbox")).to_have_value("is:unread")
    expect(page.locator(".messages li.unread").first).to_be_visible()
    expect(page.locator(".messages li:not(.unread)")).to_have_count(0)
    page.goto("/?search=is:starred")
    expect(page.get_by_text("No message is starred.")).to_be_visible()


def test_nothing_is_wider_than_the_screen(page: Page) -> None:
    for path in ("/", "/?search=is:unread", "/faults", "/sessions"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path


def test_an_empty_page_of_sessions_says_how_to_begin(browser: Browser, serve: Serve, tmp_path: Path) -> None:
    context = browser.new_context(base_url=serve.told("Inbox"))
    page = context.new_page()
    page.goto("/sessions")
    command = page.locator(".paste code").inner_text()
    assert command.startswith(f"swaks --server {serve.address} ")
    with serve.client() as client:
        client.sendmail("me@example.com", ["you@example.com"], "Subject: first\r\n\r\n")
    expect(page.locator(".sessions summary")).to_be_visible(timeout=SLOW)
    expect(page.locator(".paste")).to_have_count(0)
    context.close()
    assert len(list(Maildir(tmp_path / "Maildir", create=False).messages())) == 1
