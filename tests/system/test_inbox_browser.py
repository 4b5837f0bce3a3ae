"""The inbox page in chromium: what a person sees and presses, and what a hostile message gets done."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from browser import Tracker, waits
from playwright.sync_api import Browser, Page, expect
from smtp_support import Serve

from maildir_safe import Maildir

pytestmark = pytest.mark.mounts

HOSTILE = """<html><head>
<title>hostile</title>
<meta http-equiv="refresh" content="0; url={tracker}/refresh">
<meta http-equiv="x-dns-prefetch-control" content="on">
<link rel="preconnect" href="{tracker}"><LINK rel=prefetch href="{tracker}/prefetch">
<link rel="stylesheet" href="{tracker}/style.css"><base href="{tracker}/">
<style>@import "{tracker}/import.css"; body {{ background: url({tracker}/background) }}
@font-face {{ font-family: f; src: url({tracker}/font) }} b {{ font-family: f }}</style>
<script>document.title = "run"; parent.postMessage("run", "*"); fetch("{tracker}/script")</script>
<script src="{tracker}/external.js"></script>
</head><body onload="fetch('{tracker}/onload')"><b id="seen">Dear customer</b>
<img src="{tracker}/pixel.svg"><img src="x" onerror="fetch('{tracker}/onerror')">
<img src="relative.svg"><video poster="{tracker}/poster" src="{tracker}/video" autoplay></video>
<iframe src="{tracker}/frame"></iframe><object data="{tracker}/object"></object><embed src="{tracker}/embed">
<svg onload="alert(1)"><image href="{tracker}/svg-image.svg"></image></svg>
<form action="{tracker}/form"><input name="a" autofocus onfocus="this.form.submit()"></form>
<a id="link" href="{tracker}/link" ping="{tracker}/ping">a link</a>
</body></html>"""


@pytest.fixture
def maildir(serve: Serve, tmp_path: Path) -> Maildir:  # noqa: ARG001
    return Maildir(tmp_path / "Maildir", create=False)


@pytest.fixture
def page(browser: Browser, serve: Serve) -> Iterator[Page]:
    context = browser.new_context(base_url=serve.told("Inbox"))
    page = context.new_page()
    page.goto("/")
    yield page
    context.close()


def mail(subject: str, html: str = "", to: str = "ada@example.com") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Bob <bob@example.com>", to, subject
    message.set_content("the text\n")
    if html:
        message.add_alternative(html, subtype="html")
    return message


def subjects(page: Page) -> list[str]:
    return page.locator(".messages .subject").all_inner_texts()


def focused(page: Page) -> str:
    text: str = page.evaluate("document.activeElement.querySelector('.subject')?.innerText ?? ''")
    return text


def test_a_message_arrives_without_reload(page: Page, serve: Serve) -> None:
    expect(page.get_by_text("No mail yet")).to_be_visible()
    page.evaluate("window.sameDocument = true")
    with serve.client() as client:
        client.send_message(mail("news"))
    expect(page.get_by_text("news")).to_be_visible()
    expect(page.get_by_text("No mail yet")).to_have_count(0)
    with serve.client() as client:
        client.send_message(mail("more"))
    expect(page.get_by_text("more")).to_be_visible()
    assert subjects(page) == ["more", "news"]
    assert page.evaluate("window.sameDocument")


@pytest.fixture
def tracker() -> Iterator[Tracker]:
    tracker = Tracker()
    yield tracker
    tracker.shutdown()


def test_a_hostile_message_does_nothing(page: Page, maildir: Maildir, tracker: Tracker) -> None:
    key = maildir.deliver(mail("hostile", HOSTILE.format(tracker=tracker.url))).key
    page.on("dialog", lambda dialog: pytest.fail(f"dialog: {dialog.message}"))
    page.add_init_script("addEventListener('message', (event) => { window.told = event.data; })")
    page.goto(f"/message/{key}")
    frame = page.frame_locator("iframe")
    expect(frame.locator("#seen")).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1000)
    assert (tracker.paths, tracker.connections) == ([], 0)
    assert page.title() == "hostile"
    assert page.evaluate("window.told") is None
    assert page.url.endswith(key)

    page.get_by_text("Load remote images").click()
    waits(page, lambda: "/pixel.svg" in tracker.paths, "a remote image")
    expect(page.frame_locator("iframe").locator("#seen")).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1000)
    images_and_styles = {"/pixel.svg", "/svg-image.svg", "/background", "/poster", "/font", "/style.css",
                         "/import.css", "/prefetch"}  # fmt: skip
    assert set(tracker.paths) <= images_and_styles
    assert page.evaluate("window.told") is None


def test_a_link_opens_in_a_window_apart(page: Page, maildir: Maildir, tracker: Tracker) -> None:
    html = f'<a id="link" href="{tracker.url}/confirm">Confirm</a>'
    key = maildir.deliver(mail("confirm", html)).key
    page.goto(f"/message/{key}")
    with page.expect_popup() as opened:
        page.frame_locator("iframe").locator("#link").click()
    opened.value.wait_for_load_state()
    assert opened.value.url == f"{tracker.url}/confirm"
    assert opened.value.evaluate("[window.opener, document.referrer]") == [None, ""]
    assert page.url.endswith(key)


def test_a_link_with_a_window_of_a_name_knows_no_opener(
    page: Page, maildir: Maildir, tracker: Tracker
) -> None:
    """A browser gives window.opener to links that name their window, and it could lead this page away."""
    html = f'<a id="link" target="mine" rel="opener" href="{tracker.url}/confirm">Confirm</a>'
    key = maildir.deliver(mail("confirm", html)).key
    page.goto(f"/message/{key}")
    with page.context.expect_page() as opened:
        page.frame_locator("iframe").locator("#link").click()
    opened.value.wait_for_load_state()
    assert opened.value.evaluate("window.opener") is None


def opened(page: Page, subject: str) -> None:
    """Wait until this message is open and the script listens."""
    expect(page.locator("h2")).to_have_text(subject)
    page.wait_for_load_state()


def test_keyboard(page: Page, maildir: Maildir) -> None:
    for number in range(4):
        maildir.deliver(mail(f"n{number}"))
    expect(page.get_by_text("n3")).to_be_visible()
    page.keyboard.press("j")
    assert focused(page) == "n3"
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert focused(page) == "n1"
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    opened(page, "n2")
    page.keyboard.press("j")
    opened(page, "n1")
    page.keyboard.press("k")
    opened(page, "n2")
    page.keyboard.press("s")
    expect(page.locator("#star")).to_have_text("★")
    page.wait_for_load_state()
    page.keyboard.press("u")
    expect(page.locator(".unread .subject")).to_have_text(["n3", "n0"])
    page.wait_for_load_state()
    assert [text[:1] for text in page.locator(".messages .from").all_inner_texts()] == ["B", "★", "B", "B"]
    assert focused(page) == "n2"
    page.keyboard.press("k")
    page.keyboard.press("d")
    expect(page.locator(".messages .subject")).to_have_text(["n2", "n1", "n0"])
    assert focused(page) == "n2"
    page.keyboard.press("m")
    expect(page.locator(".unread .subject")).to_have_text(["n2", "n0"])
    page.keyboard.press("/")
    page.keyboard.type("n1 jk")
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    expect(page.locator(".messages .subject")).to_have_text(["n1"])
    page.wait_for_load_state()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    opened(page, "n1")
    page.keyboard.press("d")
    expect(page.get_by_text("No message has this word")).to_be_visible()
    page.get_by_role("link", name="Inbox").click()
    expect(page.locator(".messages .subject")).to_have_text(["n2", "n0"])


def test_delete_one_and_all(page: Page, maildir: Maildir) -> None:
    for number in range(3):
        maildir.deliver(mail(f"n{number}"))
    page.reload()
    page.get_by_text("n1").click()
    opened(page, "n1")
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".messages .subject")).to_have_text(["n2", "n0"])
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Delete all").click()
    page.wait_for_timeout(300)
    assert len(list(maildir.messages())) == 2
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete all").click()
    expect(page.get_by_text("No mail yet")).to_be_visible()
    expect(page.get_by_role("button", name="Delete all")).to_be_disabled()
    assert sorted(path.name for path in Path(maildir.path).iterdir()) == [".Trash", "cur", "new", "tmp"]


def test_delete_with_a_search_asks_for_what_is_found_and_deletes_that(page: Page, maildir: Maildir) -> None:
    for subject in ("keep", "spam one", "spam two"):
        maildir.deliver(mail(subject))
    page.goto("/?search=spam")
    maildir.deliver(mail("spam three"))
    expect(page.locator(".messages .subject")).to_have_count(3)
    asked: list[str] = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
    page.get_by_role("button", name="Delete found").click()
    expect(page.locator(".messages .subject")).to_have_text(["keep"])
    assert asked == ["Delete the 3 messages found by “spam”?"]


def test_the_title_counts_what_is_unread_and_the_list_marks_attachments(page: Page, maildir: Maildir) -> None:
    maildir.deliver(mail("plain"))
    expect(page).to_have_title("(1) Inbox")
    message = mail("with a file")
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="a.pdf")
    maildir.deliver(message)
    expect(page).to_have_title("(2) Inbox")
    expect(page.get_by_role("img", name="has attachments")).to_have_count(1)
    page.get_by_text("with a file").click()
    page.locator("#back").click()
    expect(page).to_have_title("(1) Inbox")


def test_back_and_older_stay_in_the_search(page: Page, maildir: Maildir) -> None:
    for subject in ("find one", "other", "find two"):
        maildir.deliver(mail(subject))
    page.goto("/?search=find")
    page.get_by_text("find two").click()
    page.locator("#older").click()
    opened(page, "find one")
    expect(page.locator("#older")).to_have_count(0)
    page.locator("#back").click()
    expect(page.locator(".messages .subject")).to_have_text(["find two", "find one"])


def test_without_scripts(browser: Browser, serve: Serve, maildir: Maildir) -> None:
    maildir.deliver(mail("plain"))
    context = browser.new_context(base_url=serve.told("Inbox"), java_script_enabled=False)
    page = context.new_page()
    page.goto("/")
    page.get_by_text("plain").click()
    expect(page.locator("pre")).to_have_text("the text\n")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No mail yet")).to_be_visible()
    context.close()


@pytest.mark.parametrize("width", [320, 375, 768])
def test_nothing_is_wider_than_a_phone(browser: Browser, serve: Serve, maildir: Maildir, width: int) -> None:
    long = "unbroken" * 40
    message = mail(
        long, f"<b>{long}</b><table width=2000><tr><td>wide</table>", to=f"{long[:60]}@example.com"
    )
    message["X-Long"] = long
    message.add_attachment(b"data", maintype="application", subtype="pdf", filename=f"{long[:150]}.pdf")
    key = maildir.deliver(message, sender="bob@example.com", recipient=f"{long[:60]}@example.com").key
    context = browser.new_context(base_url=serve.told("Inbox"), viewport={"width": width, "height": 700})
    page = context.new_page()
    for path in [
        "/",
        "/?search=unbroken",
        *(f"/message/{key}?view={v}" for v in ("html", "text", "headers", "source", "checks")),
    ]:
        page.goto(path)
        sizes = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert sizes[0] <= sizes[1], path
    context.close()


def test_an_attachment_is_saved_under_its_name(page: Page, maildir: Maildir) -> None:
    message = mail("report")
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="../Bericht ü.pdf")
    key = maildir.deliver(message).key
    page.goto(f"/message/{key}")
    with page.expect_download() as saved:
        page.get_by_text("Bericht ü.pdf").click()
    assert saved.value.suggested_filename == "Bericht ü.pdf"
    assert Path(saved.value.path()).read_bytes() == b"%PDF"


def test_a_maildir_that_vanishes_and_comes_back(page: Page, maildir: Maildir) -> None:
    maildir.deliver(mail("before"))
    expect(page.get_by_text("before")).to_be_visible()
    away = Path(maildir.path).rename(f"{maildir.path}.away")
    expect(page.locator("#trouble")).to_contain_text("Maildir")
    away.rename(maildir.path)
    maildir.deliver(mail("after"))
    expect(page.get_by_text("after")).to_be_visible()
    expect(page.locator("#trouble")).to_be_hidden()
