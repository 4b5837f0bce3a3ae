"""A message in chromium: its frame, its parts, and what helps to read and to copy."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from browser import stop_clock, waits
from playwright.sync_api import Browser, Page, expect
from screenshots import apples
from smtp_support import Serve

from maildir_safe import Maildir

pytestmark = pytest.mark.mounts

TEXT = "Your code is 481 206.\nSee https://shop.example/a?b=1&c=2, or write.\n<b>no markup</b>\n"
HTML = '<body style="margin:0"><div id="tall" style="height:1500px">tall</div>'


@pytest.fixture
def maildir(tmp_path: Path) -> Maildir:
    return Maildir(tmp_path / "Maildir")


@pytest.fixture
def page(browser: Browser, maildir: Maildir, tmp_path: Path) -> Iterator[Page]:  # noqa: ARG001
    serve = Serve(tmp_path, "--web", "127.0.0.1:0")
    context = browser.new_context(base_url=serve.told("Inbox"))
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    yield context.new_page()
    context.close()
    assert serve.end()[0] == 0


def mail(html: str = "") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "bob@example.com", "ada@example.com", "an order"
    message["Reply-To"], message["Message-ID"] = "Help <help@example.com>", "<4711@example.com>"
    message["Date"] = "Mon, 23 Nov 2026 09:30:00 +0100"
    message.set_content(TEXT)
    if html:
        message.add_alternative(html, subtype="html")
    return message


def clipboard(page: Page) -> str:
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


def test_the_head_has_the_fields_and_copies_the_code(page: Page, maildir: Maildir) -> None:
    key = maildir.deliver(mail(), recipient="hidden@example.com").key
    page.goto(f"/message/{key}")
    head = page.locator("main > dl").first.inner_text()
    for text in ("Help <help@example.com>", "<4711@example.com>", "23 Nov 2026", "hidden@example.com"):
        assert text in head
    stop_clock(page)  # the button says it for two seconds
    page.get_by_role("button", name="Copy the code 481206").click()
    expect(page.get_by_text("Copied")).to_be_visible()
    assert clipboard(page) == "481206"
    page.get_by_role("button", name="Copy the Message-ID").click()
    expect(page.get_by_text("Copied")).to_have_count(2)
    assert clipboard(page) == "<4711@example.com>"


def test_addresses_in_text_are_links_and_nothing_else_is(page: Page, maildir: Maildir) -> None:
    page.goto(f"/message/{maildir.deliver(mail()).key}")
    link = page.locator("pre a")
    expect(link).to_have_count(1)
    expect(link).to_have_attribute("href", "https://shop.example/a?b=1&c=2")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    assert page.locator("pre").inner_text() == TEXT


def test_the_frame_is_as_high_as_the_mail_and_as_wide_as_a_phone(page: Page, maildir: Maildir) -> None:
    page.goto(f"/message/{maildir.deliver(mail(HTML)).key}")
    frame = page.locator("iframe")
    page.wait_for_function("document.querySelector('iframe').clientHeight > 1400")
    full = frame.evaluate("f => f.clientWidth")
    page.get_by_role("button", name="Phone").click()
    expect(page.get_by_role("button", name="Phone")).to_have_attribute("aria-pressed", "true")
    assert abs(frame.evaluate("f => f.offsetWidth") - 390) <= 2
    page.get_by_role("button", name="Full width").click()
    assert frame.evaluate("f => f.clientWidth") == full


def test_keys_work_after_a_click_into_the_frame(page: Page, maildir: Maildir) -> None:
    page.goto(f"/message/{maildir.deliver(mail(HTML)).key}")
    page.frame_locator("iframe").locator("#tall").click()
    page.keyboard.press("u")
    expect(page.locator(".messages li")).to_have_count(1)


def test_nothing_runs_in_the_frame_that_this_page_looks_into(page: Page, maildir: Maildir) -> None:
    """The frame is of the page's origin; a script, a link or a form in it would have the inbox."""
    touch = "(window.opener||parent).document.title='run'"
    html = (
        f'<script>{touch}</script><img src=x onerror="{touch}"><svg onload="{touch}"></svg>'
        f'<a id="a" href="javascript:{touch}">a</a>'
        f'<a id="b" target="w" rel="opener" href="javascript:{touch}">b</a>'
        f'<iframe srcdoc="<script>{touch}</script>"></iframe><div onclick="{touch}" id="c">c</div>'
        '<form action="/delete" method="post"><button id="d">d</button></form>'
        f'<meta http-equiv="refresh" content="0;url=javascript:{touch}">'
        '<form name="documentElement"></form><form name="addEventListener"></form>'
    )
    key = maildir.deliver(mail(html)).key
    page.goto(f"/message/{key}")
    for name in ("a", "b", "c", "d"):
        page.frame_locator("iframe").locator(f"#{name}").click()
        page.wait_for_timeout(300)
    assert page.title() == "an order"
    assert [one.title() for one in page.context.pages if one.title() == "run"] == []
    assert page.url.endswith(key)
    assert len(list(maildir.messages())) == 1


def test_images_and_text_are_shown_and_the_rest_is_saved(page: Page, maildir: Maildir) -> None:
    message = mail()
    message.add_attachment(apples(), "image", "png", filename="apples.png")
    message.add_attachment("<script>document.title = 'run'</script>", subtype="html", filename="page.html")
    message.add_attachment(b"<svg/>", "image", "svg+xml", filename="drawing.svg")
    message.add_attachment(mail())
    page.goto(f"/message/{maildir.deliver(message).key}")
    image = page.get_by_role("img", name="apples.png")
    expect(image).to_be_visible()
    page.wait_for_function("document.querySelector('.attachments img').naturalWidth === 96")
    with page.expect_popup() as opened:
        page.get_by_role("link", name="View page.html").click()
    opened.value.wait_for_load_state()
    assert "<script>" in opened.value.locator("pre").inner_text()
    assert opened.value.title() != "run"
    expect(page.get_by_role("link", name="View drawing.svg")).to_have_count(0)
    page.get_by_role("link", name="Open an order.eml").click()
    expect(page.get_by_role("link", name="Back to the outer message")).to_be_visible()


def test_the_tree_of_parts(page: Page, maildir: Maildir) -> None:
    message = mail("<p>hi")
    message.add_attachment(b"%PDF", "application", "pdf", filename="a.pdf")
    page.goto(f"/message/{maildir.deliver(message).key}?view=parts")
    kinds = page.locator(".parts code").all_inner_texts()
    assert kinds == [
        "multipart/mixed", "multipart/alternative", "text/plain", "text/html", "application/pdf",
    ]  # fmt: skip
    left = page.locator(".parts li").evaluate_all("all => all.map(one => one.getBoundingClientRect().left)")
    assert left[0] < left[1] < left[2] == left[3] > left[4] == left[1]


def test_printing_leaves_out_what_is_not_the_mail(page: Page, maildir: Maildir) -> None:
    page.goto(f"/message/{maildir.deliver(mail(HTML)).key}")
    page.evaluate("window.print = () => { window.printed = true; }")
    page.get_by_role("button", name="Print").click()
    assert page.evaluate("window.printed")
    page.emulate_media(media="print")
    expect(page.locator("header")).to_be_hidden()
    expect(page.locator(".widths")).to_be_hidden()
    expect(page.locator("h2")).to_be_visible()


def test_remote_images_are_offered_only_where_there_are_some(page: Page, maildir: Maildir) -> None:
    page.goto(f"/message/{maildir.deliver(mail(HTML)).key}")
    expect(page.get_by_text("Load remote images")).to_have_count(0)
    page.goto(f"/message/{maildir.deliver(mail('<img src=https://x.invalid/a.png>')).key}")
    expect(page.get_by_text("Load remote images")).to_be_visible()


def test_back_returns_to_the_same_page_of_the_list(page: Page, maildir: Maildir) -> None:
    for number in range(60):
        maildir.deliver(f"Subject: n{number}\n\n".encode())
    page.goto("/?search=n&offset=50")
    expect(page.locator(".messages li")).to_have_count(10)
    expect(page.locator(".pages")).to_contain_text("60 of 60")
    page.locator(".messages a").first.click()
    page.wait_for_url("**/message/**")  # its scripts have run by then
    page.keyboard.press("u")
    expect(page.locator(".pages")).to_contain_text("60 of 60")
    page.locator(".messages a").first.click()
    page.wait_for_url("**/message/**")
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".pages")).to_contain_text("59 of 59")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".pages")).to_contain_text("60 of 60")


def test_the_list_tells_the_age_the_day_and_that_something_is_unread(page: Page, maildir: Maildir) -> None:
    page.goto("/")
    plain = page.locator("#icon").get_attribute("href")
    maildir.deliver(mail())
    (Path(maildir.path) / "cur/1700000000.M000001P1.old:2,S").write_bytes(b"Subject: old\n\n")
    page.reload()
    expect(page.locator(".messages time").first).to_have_text("now")
    assert page.locator(".messages time").first.get_attribute("title") is not None
    assert page.locator(".messages li").first.get_attribute("data-day") == "Today"
    assert "2023" in str(page.locator(".messages li").nth(1).get_attribute("data-day"))
    assert page.locator("#icon").get_attribute("href") != plain
    expect(page).to_have_title("(1) Inbox")


def test_an_empty_page_has_a_command_to_copy(page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="Copy the command").click()
    waits(page, lambda: clipboard(page).startswith("swaks"), "the command in the clipboard")
    assert clipboard(page).startswith("swaks --server 127.0.0.1:")
    assert clipboard(page) in page.locator(".paste").inner_text()
