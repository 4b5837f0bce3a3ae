"""What is inside a message, in chromium: messages as messages, PDFs in the browser's viewer; and Release."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from smtp_support import Serve

from maildir_safe import Maildir

pytestmark = pytest.mark.mounts

DRAWN = b"BT /F1 24 Tf 40 100 Td (Invoice 4711) Tj ET"
ALERT = b"<</Type/Catalog/Pages 2 0 R/OpenAction<</S/JavaScript/JS(app.alert\\('x'\\))>>>>"
OBJECTS = [
    ALERT,
    b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
    b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
    b"<</Length %d>>stream\n%b\nendstream" % (len(DRAWN), DRAWN),
    b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
]


def pdf() -> bytes:
    """A page with a few words, and a script that wants to open a window."""
    out, places = b"%PDF-1.4\n", []
    for number, one in enumerate(OBJECTS, 1):
        places.append(len(out))
        out += b"%d 0 obj%bendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer<</Root 1 0 R/Size 6>>\nstartxref\n%d\n%%%%EOF" % len(out)
    return out + b"xref\n0 6\n0000000000 65535 f \n" + table + end


def mail(subject: str, html: str = "") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = f"{subject}@example.com", "b@example.com", subject
    message.set_content(f"the text of {subject}")
    if html:
        message.add_alternative(html, subtype="html")
    return message


def bounce() -> EmailMessage:
    """A message with one inside, which has a PDF and another one inside."""
    inner = mail("inner", '<p id="p" style="color:rgb(1, 2, 3)">hello</p>')
    inner.add_attachment(pdf(), "application", "pdf", filename="invoice.pdf")
    inner.add_attachment(mail("innermost"))
    outer = mail("outer")
    outer.add_attachment(inner)
    return outer


def problems(page: Page) -> str:
    """What axe-core finds on the page that is shown."""
    found = Axe().run(page, context={"exclude": [["iframe"]]})
    return str(found.generate_report()) if found.violations_count else ""


def until(page: Page, true: Callable[[], bool]) -> None:
    """Wait, while the browser's events arrive, for what it tells by no event of its own."""
    for _ in range(600):
        if true():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it did not come true within a minute")


@pytest.fixture
def page(browser: Browser, serve: Serve) -> Iterator[Page]:
    context = browser.new_context(base_url=serve.told("Inbox"))
    yield context.new_page()
    context.close()


def test_a_message_inside_is_read_as_a_message_and_leads_back(page: Page, tmp_path: Path) -> None:
    key = Maildir(tmp_path / "Maildir").deliver(bounce()).key
    page.goto(f"/message/{key}?search=outer")
    page.get_by_role("link", name="Open inner.eml").click()
    expect(page.locator("h2")).to_have_text("inner")
    expect(page.frame_locator("iframe").locator("#p")).to_have_css("color", "rgb(1, 2, 3)")
    assert problems(page) == ""
    page.get_by_role("link", name="Text", exact=True).click()
    expect(page.locator("pre")).to_have_text("the text of inner")
    page.get_by_role("link", name="Open innermost.eml").click()
    expect(page.locator("h2")).to_have_text("innermost")
    page.keyboard.press("u")
    expect(page.locator("h2")).to_have_text("inner")
    with page.expect_download() as saved:
        page.get_by_role("link", name="invoice.pdf", exact=True).click()
    assert Path(saved.value.path()).read_bytes() == pdf()
    page.get_by_role("link", name="Back to the outer message").click()
    expect(page.locator("h2")).to_have_text("outer")
    page.keyboard.press("u")
    expect(page.locator("#search")).to_have_value("outer")


def test_a_pdf_opens_in_the_browsers_viewer_and_its_script_does_nothing(page: Page, tmp_path: Path) -> None:
    message = mail("pdf")
    message.add_attachment(pdf(), "application", "pdf", filename="invoice.pdf")
    page.goto(f"/message/{Maildir(tmp_path / 'Maildir').deliver(message).key}")
    talk: list[str] = []
    page.context.on("dialog", lambda dialog: (talk.append(dialog.message), dialog.dismiss()))
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Open invoice.pdf").click()
    viewer = opened.value
    until(page, lambda: any(frame.url.startswith("chrome-extension://") for frame in viewer.frames))
    assert viewer.evaluate("window.opener") is None
    assert talk == []


@pytest.mark.parametrize(
    ("scheme", "contrast", "forced"),
    [("light", "more", None), ("dark", "more", None), ("light", None, "active"), ("dark", None, None)],
)
@pytest.mark.parametrize("width", [390, 1280])
def test_release_and_its_refusal(
    browser: Browser, tmp_path: Path, scheme: Any, contrast: Any, forced: Any, width: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sink = Controller(Sink(), hostname="127.0.0.1", port=port)
    sink.start()
    relay = ["--relay", f"smtp://127.0.0.1:{port}", "--relay-to", "*@allowed.example"]
    serve = Serve(tmp_path, "--web", "127.0.0.1:0", *relay)
    context = browser.new_context(
        base_url=serve.told("Inbox"),
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        contrast=contrast,
        forced_colors=forced,
    )
    page = context.new_page()
    message = mail("a mail", "<p>hello")
    page.goto(f"/message/{Maildir(tmp_path / 'Maildir').deliver(message).key}")
    expect(page.locator(".widths")).to_be_visible(visible=width > 700)
    page.get_by_text("Release to real recipients").click()
    page.get_by_label("Send a copy").fill("ada@elsewhere.example")
    assert problems(page) == ""
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_role("alert")).to_contain_text("does not match the allowlist: ada@elsewhere.example")
    assert problems(page) == ""
    page.get_by_label("Send a copy").fill("ada@allowed.example")
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_role("status")).to_have_text("The server has taken the message.")
    assert problems(page) == ""
    assert sink.handler.got == [["ada@allowed.example"]]
    context.close()
    sink.stop()
    assert serve.end()[0] == 0


class Sink:
    """A server that notes for whom it is sent mail."""

    def __init__(self) -> None:
        self.got: list[list[str]] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.got.append(envelope.rcpt_tos)
        return "250 OK"
