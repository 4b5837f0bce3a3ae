"""Rows that are on their way in chromium, while more come, or while a person types, selects or clicks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import waits
from playwright.sync_api import Browser, Page, expect
from smtp_support import Serve

from maildir_safe import Maildir

pytestmark = pytest.mark.mounts


@pytest.fixture
def page(browser: Browser, serve: Serve, tmp_path: Path) -> Iterator[Page]:
    for number in (1, 2):
        deliver(tmp_path, number)
    context = browser.new_context(base_url=serve.told("Inbox"))
    page = context.new_page()
    page.goto("/")
    shows(page, 2, 1)
    yield page
    context.close()


def deliver(tmp_path: Path, number: int) -> None:
    Maildir(tmp_path / "Maildir", create=False).deliver(f"Subject: number {number}\n\ntext\n".encode())


def shows(page: Page, *numbers: int) -> None:
    expect(page.locator(".messages .subject")).to_have_text([f"number {number}" for number in numbers])


HOLD = """() => {
  const text = Response.prototype.text;
  const gate = new Promise((go) => { window.letThemCome = go; });
  Response.prototype.text = async function () {
    const rows = await text.call(this);
    if (window.onTheWay) return rows;
    window.onTheWay = true;
    await gate;
    return rows;
  };
}"""


class OnTheWay:
    """The next rows: the server has begun to answer, and the rest comes when the test says so."""

    def __init__(self, page: Page) -> None:
        self._page = page
        page.evaluate(HOLD)

    def wait(self) -> None:
        """Until the page waits for them."""
        waits(self._page, lambda: self._page.evaluate("window.onTheWay"), "the rows")

    def arrive(self) -> None:
        """Let the page have them, and what it does then."""
        self._page.evaluate("window.letThemCome()")
        self._page.evaluate("new Promise((done) => setTimeout(() => requestAnimationFrame(done)))")


def test_rows_that_come_late_do_not_replace_newer_ones(page: Page, tmp_path: Path) -> None:
    late = OnTheWay(page)
    deliver(tmp_path, 3)
    late.wait()
    deliver(tmp_path, 4)
    shows(page, 4, 3, 2, 1)
    late.arrive()
    shows(page, 4, 3, 2, 1)


def test_what_is_typed_meanwhile_goes_into_the_search(page: Page, tmp_path: Path) -> None:
    page.locator(".messages a").first.focus()
    late = OnTheWay(page)
    deliver(tmp_path, 3)
    late.wait()
    page.keyboard.press("/")
    page.keyboard.type("ab")
    late.arrive()
    page.keyboard.type("dm")  # keys that delete and mark, in the list
    expect(page.get_by_role("searchbox")).to_have_value("abdm")
    shows(page, 3, 2, 1)
    assert len(list(Maildir(tmp_path / "Maildir", create=False).messages())) == 3


def test_what_is_selected_meanwhile_stays_selected(page: Page, tmp_path: Path) -> None:
    late = OnTheWay(page)
    deliver(tmp_path, 3)
    late.wait()
    page.get_by_label("Select number 1").check()
    late.arrive()
    shows(page, 3, 2, 1)
    expect(page.get_by_label("Select number 1")).to_be_checked()


def test_a_click_during_which_rows_come_is_a_click(page: Page, tmp_path: Path) -> None:
    late = OnTheWay(page)
    deliver(tmp_path, 3)
    late.wait()
    page.get_by_text("number 1").hover()
    page.mouse.down()
    late.arrive()
    page.mouse.up()
    expect(page.locator("h2")).to_have_text("number 1")
    page.go_back()
    shows(page, 3, 2, 1)
