"""`assert_sent`, and the fixture's wider scopes, as their users have them."""

from __future__ import annotations

import asyncio
import smtplib
import threading
from pathlib import Path

import pytest

from maildir_safe.testing.received_message import ReceivedMessage, received_message
from maildir_safe.testing.sent import Wanted
from maildir_safe.testing.smtp_fixture import MaildirSmtp

pytest_plugins = ["pytester"]

HTML = b"Subject: x\nContent-Type: text/html\n\n<p>You owe us <b>12&nbsp;euros</b></p>"
CODED = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nContent-Transfer-Encoding: base64\n\nSMOkbGxvIEFkYQ==\n"


def came(raw: bytes, *recipients: str) -> ReceivedMessage:
    message = received_message(raw)
    message.sender, message.recipients = "me@example.com", list(recipients)
    return message


@pytest.mark.parametrize(
    ("raw", "wanted", "missing"),
    [
        (HTML, Wanted("ADA@", "", "owe us 12"), []),
        (HTML, Wanted("bob@", "", "<b>"), ["to", "body"]),
        (CODED, Wanted("", "GRÜSSE".lower(), ""), ["subject"]),  # no folding of ß: as `wait`
        (CODED, Wanted("", "grüß", "HÄLLO ADA\n"), []),
        (b"Subject: a\n\none  \ntwo\n", Wanted("", "", "one\ntwo"), []),
        (b"", Wanted("", "", ""), []),
        (b"", Wanted("", "a", "b"), ["subject", "body"]),
    ],
)
def test_what_a_message_lacks(raw: bytes, wanted: Wanted, missing: list[str]) -> None:
    assert wanted.misses(came(raw, "ada@example.com")) == missing


def test_the_error_names_the_nearest_first_and_is_bounded() -> None:
    far = [came(b"Subject: far\n\nx\n", f"n{number}@example.com") for number in range(10)]
    near = came(b"Subject: near\n\n" + b"\x1b[31mother line\n" * 5000, "ada@example.com")
    text = Wanted("ada@", "near", "wanted line\n" * 3000).explain([*far, near])
    lines = text.splitlines()
    assert lines[1].endswith("'near'> differs in body")
    assert "... and 6 more" in text
    assert "-wanted line" in text
    assert "\x1b" not in text
    assert len(lines[5:]) < 100


def test_it_waits_and_may_be_repeated(tmp_path: Path) -> None:
    with MaildirSmtp(tmp_path) as smtp:

        def send() -> None:
            with smtplib.SMTP(smtp.host, smtp.port) as client:
                client.sendmail("me@example.com", ["ada@example.com"], "Subject: late\n\nhello\n")

        late = threading.Timer(0.3, send)
        late.start()
        first = smtp.assert_sent(to="ada@", subject="late", body="hello", timeout=60)
        late.join()
        assert smtp.assert_sent(subject="LATE", timeout=0).key == first.key
        with pytest.raises(AssertionError, match="no message with subject='never': 1 came"):
            smtp.assert_sent(subject="never", timeout=0)


def test_one_server_for_a_module_and_one_for_the_session(pytester: pytest.Pytester) -> None:
    text = """
import smtplib, pytest

pytestmark = pytest.mark.maildir_smtp(max_size=NUMBER)

def test_module(maildir_smtp_module, maildir_smtp_session):
    with smtplib.SMTP(maildir_smtp_module.host, maildir_smtp_module.port) as client:
        client.ehlo()
        assert client.esmtp_features["size"] == "NUMBER"
    with smtplib.SMTP(maildir_smtp_session.host, maildir_smtp_session.port) as client:
        client.sendmail("me@example.com", ["ada@example.com"], "Subject: to all\\n\\nNUMBER")

def test_again(maildir_smtp_module, maildir_smtp_session):
    assert maildir_smtp_module.messages == []
    assert len(maildir_smtp_session.messages) == NUMBER - 5000
    maildir_smtp_session.assert_sent(body="NUMBER")

def test_fails(maildir_smtp_session):
    if NUMBER == 5002:
        maildir_smtp_session.assert_sent(body="nothing of this", timeout=0)
"""
    pytester.makepyfile(test_a=text.replace("NUMBER", "5001"), test_b=text.replace("NUMBER", "5002"))
    result = pytester.runpytest_subprocess("-q", "-W", "error", "-p", "no:randomly")
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(
        ["*no message with body='nothing of this': 2 came*", "*maildir_smtp_session*"]
    )


def test_it_is_awaited(tmp_path: Path) -> None:
    async def both() -> ReceivedMessage:
        waiting = asyncio.create_task(smtp.wait_async(to="ada@", timeout=30))
        await asyncio.sleep(0)
        await asyncio.to_thread(send)  # the loop is not blocked
        return await waiting

    def send() -> None:
        with smtplib.SMTP(smtp.host, smtp.port) as client:
            client.sendmail("me@example.com", ["ada@example.com"], "Subject: soon\n\n")

    with MaildirSmtp(tmp_path) as smtp:
        assert asyncio.run(both())["Subject"] == "soon"
        with pytest.raises(TimeoutError):
            asyncio.run(smtp.wait_async(timeout=0))
