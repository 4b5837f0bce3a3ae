"""The page of a message: messages inside it, its PDFs, and its release."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._queue.couriers.courier import DeliveryRequest
from maildir_safe._smtp.server.relay import Relay
from maildir_safe._web.app import application
from maildir_safe._web.guard import Guard

PDF = b"%PDF-1.4\n1 0 obj <</OpenAction <</S /JavaScript /JS (app.alert(1))>>>> endobj\n%%EOF"


class Sender:
    """A courier that sends nothing, and says that it has."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, ...]] = []

    def __call__(self, request: DeliveryRequest) -> dict[str, RecipientStatus]:
        """See `Courier`."""
        self.sent.append(tuple(request.recipients))
        return {who: RecipientStatus(250, "2.0.0 OK") for who in request.recipients}


@pytest.fixture
def maildir(tmp_path: Path) -> Maildir:
    return Maildir(tmp_path / "m")


@pytest.fixture
def sender() -> Sender:
    return Sender()


@pytest.fixture
def client(maildir: Maildir, sender: Sender) -> Iterator[TestClient]:
    relay = Relay(sender, ["*@allowed.example"], "us.example")
    with TestClient(Guard(application(maildir, relay=relay)), base_url="http://127.0.0.1") as client:
        yield client


def mail(subject: str, *inside: EmailMessage, html: str = "") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = f"{subject}@example.com", "b@example.com", subject
    message.set_content(f"the text of {subject}")
    if html:
        message.add_alternative(html, subtype="html")
    for one in inside:
        message.add_attachment(one)
    return message


def test_a_message_inside_opens_as_a_message_with_what_is_in_it(client: TestClient, maildir: Maildir) -> None:
    inner = mail("inner", html="<b>hi</b><script>x</script>")
    inner.add_attachment(b"data\0", "application", "zip", filename="a.zip")
    key = maildir.deliver(mail("outer", inner)).key
    assert (
        f'"/message/{key.replace(",", "%2C").replace("=", "%3D")}?inside=2"'
        in client.get(f"/message/{key}").text
    )
    page = client.get(f"/message/{key}?inside=2&view=text").text
    for text in ("<h2>inner</h2>", "inner@example.com", "the text of inner", "Back to the outer message"):
        assert text in page
    assert "outer@example.com" not in page
    assert "/delete" not in page
    frame = client.get(f"/message/{key}/html?inside=2")
    assert "<b>hi</b>" in frame.text
    assert "<script" not in frame.text
    assert "sandbox allow-same-origin allow-popups" in frame.headers["content-security-policy"]
    saved = client.get(f"/message/{key}/part/4?inside=2&save=1")
    assert saved.content == b"data\0"
    assert saved.headers["content-disposition"] == "attachment; filename*=UTF-8''a.zip"
    assert saved.headers["content-type"] == "application/octet-stream"
    for view in ("headers", "source", "parts", "checks", "html"):
        assert client.get(f"/message/{key}?inside=2&view={view}").status_code == 200


def test_messages_inside_messages_open_ten_deep_and_no_deeper(client: TestClient, maildir: Maildir) -> None:
    message = mail("n12")
    for number in range(11, -1, -1):
        message = mail(f"n{number}", message)
    key = maildir.deliver(message).key
    for depth in (1, 5, 10):
        page = client.get(f"/message/{key}?inside={'.'.join('2' * depth)}").text
        assert f"<h2>n{depth}</h2>" in page
        assert (f'?inside={".".join("2" * (depth + 1))}"' in page) == (depth < 10)
        assert f'aria-label="{"Open" if depth < 10 else "View"} n{depth + 1}.eml"' in page
    assert client.get(f"/message/{key}?inside={'.'.join('2' * 11)}").status_code == 400


@pytest.mark.parametrize(
    ("way", "status"),
    [("1", 404), ("0", 404), ("99", 404), ("2.1", 404), ("2.2.2", 404), ("x", 400), ("2.", 400),
     ("-1", 400), ("2" * 5, 400), ("../2", 400), ("٢", 400)],
)  # fmt: skip
def test_a_way_that_leads_to_no_message(client: TestClient, maildir: Maildir, way: str, status: int) -> None:
    key = maildir.deliver(mail("outer", mail("inner"))).key
    for path in (f"/message/{key}", f"/message/{key}/html", f"/message/{key}/part/1"):
        assert client.get(path, params={"inside": way}).status_code == status, path


def test_what_a_message_inside_says_is_escaped(client: TestClient, maildir: Maildir) -> None:
    evil = "<script>alert(1)</script>"
    part = (
        f'Content-Type: message/rfc822; name="{evil}"\n\nSubject: {evil}\nFrom: {evil}\nX-{evil}: 1\n\n{evil}'
    )
    raw = f"Content-Type: multipart/mixed; boundary=x\n\n--x\n{part}\n--x--\n"
    key = maildir.deliver(raw.encode()).key
    for path in (
        "",
        "?inside=1",
        *(f"?inside=1&view={view}" for view in ("text", "headers", "parts", "source")),
    ):
        answer = client.get(f"/message/{key}{path}")
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]
    assert client.get(f"/message/{key}/part/1").headers["content-type"] == "text/plain; charset=utf-8"


def test_a_pdf_is_shown_as_a_pdf_and_nothing_else_is(client: TestClient, maildir: Maildir) -> None:
    message = mail("pdfs")
    message.add_attachment(PDF, "application", "pdf", filename="a.pdf")
    message.add_attachment(
        b"<script>x</script>" + b" " * 2000 + b"%PDF-", "application", "pdf", filename="b.pdf"
    )
    key = maildir.deliver(message).key
    assert 'aria-label="Open a.pdf"' in client.get(f"/message/{key}").text
    shown = client.get(f"/message/{key}/part/2")
    assert shown.content == PDF
    assert shown.headers["content-type"] == "application/pdf"
    assert shown.headers["x-content-type-options"] == "nosniff"
    assert (
        shown.headers["content-security-policy"] == "default-src 'none'"
    )  # a sandbox stops Chromium's viewer
    assert client.get(f"/message/{key}/part/3").status_code == 404


def test_release_on_the_page_asks_tells_and_refuses(
    client: TestClient, maildir: Maildir, sender: Sender
) -> None:
    key = maildir.deliver(mail("a mail")).key
    assert "Allowed: *@allowed.example" in client.get(f"/message/{key}").text
    url = f"/message/{key}/release"
    refused = client.post(url, data={"to": "x@allowed.example, <b>@other.example"})
    assert refused.status_code == 400
    assert "Not released." in refused.text
    refused = client.post(url, data={"to": "x@allowed.example, y@other.example"})
    assert "Address does not match the allowlist: y@other.example" in refused.text
    assert 'value="x@allowed.example, y@other.example"' in refused.text
    assert sender.sent == []
    done = client.post(url + "?search=mail", data={"to": "x@allowed.example,z@allowed.example"})
    assert done.status_code == 200
    assert done.url.query == b"search=mail&released=1"
    assert "The server has taken the message." in done.text
    assert sender.sent == [("x@allowed.example", "z@allowed.example")]
    assert (
        client.post(url, data={"to": "x@allowed.example"}, headers={"Origin": "http://evil"}).status_code
        == 403
    )


def test_without_a_relay_there_is_no_button(maildir: Maildir) -> None:
    key = maildir.deliver(mail("a mail")).key
    with TestClient(Guard(application(maildir)), base_url="http://127.0.0.1") as client:
        assert "Release" not in client.get(f"/message/{key}").text
        answer = client.post(f"/message/{key}/release", data={"to": "x@allowed.example"})
        assert (answer.status_code, "Release is not enabled" in answer.text) == (400, True)
