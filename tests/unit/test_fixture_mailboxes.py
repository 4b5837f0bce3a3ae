"""The test fixture with a Maildir for each address."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from maildir_safe.testing.smtp_fixture import MaildirSmtp


@pytest.fixture
def smtp(tmp_path: Path) -> Iterator[MaildirSmtp]:
    with MaildirSmtp(tmp_path, split="{domain}/{local}") as smtp:
        yield smtp


def send(smtp: MaildirSmtp, subject: str, *to: str) -> None:
    with smtplib.SMTP(smtp.host, smtp.port, timeout=20) as client:
        client.sendmail("shop@example.com", [*to], f"Subject: {subject}\n\nHello\n")


def test_each_address_has_its_own_and_messages_has_all(smtp: MaildirSmtp) -> None:
    assert smtp.messages == []
    send(smtp, "one", "ada@example.com", "bob@example.org")
    send(smtp, "two", "bob@example.org")
    told = [(message["Subject"], message.mailbox, message.recipients) for message in smtp.messages]
    assert sorted(told[:2]) == [
        ("one", "ada@example.com", ["ada@example.com"]), ("one", "bob@example.org", ["bob@example.org"]),
    ]  # fmt: skip
    assert told[2:] == [("two", "bob@example.org", ["bob@example.org"])]
    assert len(list(smtp.mailbox("bob@example.org").messages())) == 2
    assert Path(smtp.mailbox("ada@example.com").path) == Path(smtp.directory) / "example.com/ada"
    with pytest.raises(KeyError):
        smtp.mailbox("eve@example.com")
    with pytest.raises(ValueError, match=r"use mailbox\(address\)"):
        _ = smtp.maildir


def test_waiting_asserting_and_clearing(smtp: MaildirSmtp) -> None:
    send(smtp, "one", "ada@example.com", "bob@example.org")
    assert {smtp.wait(to=name).mailbox for name in ("ada", "bob")} == {"ada@example.com", "bob@example.org"}
    with pytest.raises(TimeoutError):
        smtp.wait(to="ada", timeout=0)
    assert smtp.assert_sent(to="bob", body="hello").mailbox == "bob@example.org"
    with pytest.raises(AssertionError, match=r"no message with to='eve': 2 came"):
        smtp.assert_sent(to="eve", timeout=0)
    smtp.clear()
    assert smtp.messages == []
    send(smtp, "two", "ada@example.com")
    assert smtp.wait(subject="two").mailbox == "ada@example.com"


def test_without_split_there_is_one(tmp_path: Path) -> None:
    with MaildirSmtp(tmp_path) as smtp:
        send(smtp, "one", "ada@example.com", "bob@example.org")
        (message,) = smtp.messages
        assert (message.mailbox, smtp.maildir.path) == ("", smtp.directory)
