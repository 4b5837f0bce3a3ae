"""Deletions in chromium: of one message, of selected ones and of what was found, and back again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import stop_clock, waits
from playwright.sync_api import Browser, Page, Route, expect
from smtp_support import Serve

from maildir_safe import Maildir

pytestmark = pytest.mark.mounts

ROWS = re.compile("[?&]rows=")  # in the address from which the page fetches its rows


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    serve = Serve(tmp_path, "--web", "127.0.0.1:0")
    maildir = Maildir(tmp_path / "Maildir", create=False)
    for number in range(4):
        maildir.deliver(f"From: bob@example.com\nSubject: number {number}\n\ntext\n".encode())
    context = browser.new_context(base_url=serve.told("Inbox"))
    page = context.new_page()
    page.goto("/")
    yield page
    context.close()
    assert serve.end()[0] == 0


def shows(page: Page, *numbers: int) -> None:
    expect(page.locator(".messages .subject")).to_have_text([f"number {number}" for number in numbers])


def test_one_message_is_deleted_by_a_key_and_comes_back(page: Page) -> None:
    page.locator(".messages a").nth(1).focus()
    page.keyboard.press("d")
    shows(page, 3, 1, 0)
    expect(page.get_by_text("1 message deleted.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    shows(page, 3, 2, 1, 0)
    expect(page.locator(".undo")).to_have_count(0)


def test_an_open_message_is_deleted_and_comes_back(page: Page) -> None:
    page.get_by_text("number 2").click()
    expect(page.locator("h2")).to_have_text("number 2")
    page.get_by_role("button", name="Delete").click()
    shows(page, 3, 1, 0)
    page.get_by_role("button", name="Undo").click()
    shows(page, 3, 2, 1, 0)


def test_selected_messages_are_marked_deleted_and_come_back(page: Page) -> None:
    expect(page.locator("#selected")).to_be_hidden()
    page.get_by_label("Select number 0").check()
    page.locator(".messages a").nth(1).focus()
    page.keyboard.press("x")
    expect(page.locator("#delete-found")).to_be_hidden()
    page.locator("#selected").get_by_role("button", name="Read", exact=True).click()
    expect(page.locator(".messages .unread")).to_have_count(2)
    page.get_by_label("Select number 0").check()
    page.get_by_label("Select number 2").check()
    page.locator("#selected").get_by_role("button", name="Delete").click()
    shows(page, 3, 1)
    expect(page.get_by_text("2 messages deleted.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    shows(page, 3, 2, 1, 0)
    expect(page.locator(".messages .unread")).to_have_count(2)


def test_what_was_found_is_deleted_and_comes_back(page: Page) -> None:
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto("/?search=number")
    page.get_by_role("button", name="Delete found").click()
    expect(page.get_by_text("4 messages deleted.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    shows(page, 3, 2, 1, 0)


def test_undo_is_offered_for_ten_seconds(page: Page) -> None:
    stop_clock(page)
    page.locator(".messages a").first.focus()
    page.keyboard.press("d")
    expect(page.locator(".undo")).to_be_visible()
    page.clock.fast_forward(9_000)
    expect(page.locator(".undo")).to_be_visible()
    page.clock.fast_forward(2_000)
    expect(page.locator(".undo")).to_have_count(0)
    expect(page).not_to_have_url(re.compile("undo"))


def test_rows_that_come_late_do_not_offer_undo_again(page: Page, tmp_path: Path) -> None:
    stop_clock(page)
    page.locator(".messages a").first.focus()
    page.keyboard.press("d")
    shows(page, 2, 1, 0)
    expect(page.locator(".undo")).to_be_visible()
    held: list[Route] = []
    over: list[bool] = []  # then whatever is asked for comes at once
    page.route(ROWS, lambda route: route.continue_() if over else held.append(route))
    with page.expect_request(ROWS):
        deliver(tmp_path, 4)
    waits(page, lambda: held, "the request")
    page.clock.fast_forward(11_000)
    expect(page.locator(".undo")).to_have_count(0)
    over.append(True)
    for route in held:
        route.continue_()
    shows(page, 4, 2, 1, 0)
    expect(page.locator(".undo")).to_have_count(0)


def deliver(tmp_path: Path, number: int) -> None:
    Maildir(tmp_path / "Maildir", create=False).deliver(f"Subject: number {number}\n\ntext\n".encode())
