"""Cleaned HTML in chromium: no known attack runs even without a policy, and mail keeps its look."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from browser import Tracker
from playwright.sync_api import Browser, Page, expect
from screenshots import apples
from smtp_support import Serve

from maildir_safe import Maildir
from maildir_safe._web.cleaner import clean
from tests.html_attacks import ATTACKS, BOMBS

pytestmark = pytest.mark.mounts

LOOK = """<!doctype html><html><head><style>
@media (max-width: 2000px) { .head { background: rgb(10, 90, 60); color: rgb(255, 255, 255) } }
.pic { background-image: url("CID:apples@x") }
</style></head><body bgcolor="#eeeeee" style="margin:7px"><table width="400" align="center"><tr>
<td class="head" id="cell" style="padding:9px">Hello</td></tr></table><div class="pic" id="pic">x</div>
<img src="c&#105;d:%3Capples@x%3E" id="img" alt="apples"></body></html>"""


@pytest.fixture
def page(browser: Browser, serve: Serve) -> Iterator[Page]:
    context = browser.new_context(base_url=serve.told("Inbox"))
    yield context.new_page()
    context.close()


def mail(html: str) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "look"
    message.set_content("text")
    message.add_alternative(html, subtype="html")
    message.get_payload()[1].add_related(apples(), "image", "png", cid="<apples@x>")  # type: ignore[union-attr,index]
    return message


def runs(page: Page, html: str) -> bool:
    """Whether a browser runs something in a page that no policy protects."""
    page.goto("about:blank")  # a new window: what the last page has set is gone
    page.set_content(html, wait_until="load")
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 20)))")
    return bool(page.evaluate("window.ran === 1 || document.title === 'ran'"))


def test_no_known_attack_runs_in_a_cleaned_page_without_a_policy(browser: Browser) -> None:
    page = browser.new_page()
    dangerous = [
        name for name, html in ATTACKS.items() if runs(page, html.encode("utf-8", "replace").decode())
    ]
    assert {"handler", "script", "svg", "details", "comment"} <= {*dangerous}
    assert len(dangerous) > 20
    for name, html in ATTACKS.items():
        text = html.encode("utf-8", "replace").decode()
        for remote in (False, True):
            assert not runs(page, clean(text, remote)), name
            assert not runs(page, clean(clean(text, remote), remote)), name
    page.close()


def test_nothing_is_loaded_and_nothing_leads_to_the_inbox(page: Page, serve: Serve, tmp_path: Path) -> None:  # noqa: ARG001
    tracker = Tracker()
    html = "".join(ATTACKS.values()).encode("utf-8", "replace").decode().replace("a.invalid", tracker.url[7:])
    html += f"<style>p{{background:url({tracker.url}/css)}}</style><img src={tracker.url}/img><p>x"
    html = html.replace("<plaintext>", "")
    key = Maildir(tmp_path / "Maildir").deliver(mail(html)).key
    page.goto(f"/message/{key}")
    page.wait_for_function("document.querySelector('iframe').contentDocument?.readyState === 'complete'")
    expect(page.frame_locator("iframe").get_by_text("x").first).to_be_attached()
    assert (tracker.connections, page.title()) == (0, "look")
    expect(page.frame_locator("iframe").locator("[href^='/'], form, script")).to_have_count(0)


def test_a_mail_keeps_its_look(page: Page, serve: Serve, tmp_path: Path) -> None:  # noqa: ARG001
    page.goto(f"/message/{Maildir(tmp_path / 'Maildir').deliver(mail(LOOK)).key}")
    frame = page.frame_locator("iframe")
    expect(frame.locator("body")).to_have_css("background-color", "rgb(238, 238, 238)")
    expect(frame.locator("body")).to_have_css("margin", "7px")
    expect(frame.locator("#cell")).to_have_css("background-color", "rgb(10, 90, 60)")
    expect(frame.locator("#cell")).to_have_css("padding", "9px")
    assert "data:image/png" in frame.locator("#pic").evaluate("e => getComputedStyle(e).backgroundImage")
    frame.locator("#img").wait_for()
    page.wait_for_function(
        "document.querySelector('iframe').contentDocument.getElementById('img').naturalWidth === 96"
    )


def test_html_that_would_take_minutes_is_shown_as_text(page: Page, serve: Serve, tmp_path: Path) -> None:  # noqa: ARG001
    key = Maildir(tmp_path / "Maildir").deliver(mail(BOMBS["formatting"] + "the text")).key
    page.goto(f"/message/{key}", wait_until="commit")  # the frame loads later
    frame = page.frame_locator("iframe")
    expect(frame.get_by_text("too intricate")).to_be_visible(timeout=60_000)
    expect(frame.locator("pre")).to_contain_text("the text")
