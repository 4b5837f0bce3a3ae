"""The handler for aiosmtpd, in a real aiosmtpd."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP
from smtp_support import free_port

from maildir_safe import Maildir, TemporaryError
from maildir_safe.contrib.aiosmtpd import MaildirHandler


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Controller]:
    handler = MaildirHandler(str(tmp_path / "m"))  # aiosmtpd connects to the port that it was given
    controller = Controller(handler, hostname="127.0.0.1", port=free_port(), ready_timeout=60)
    controller.start()
    yield controller
    controller.stop()


def client(server: Controller) -> smtplib.SMTP:
    return smtplib.SMTP(server.hostname, server.port)


def test_a_message_is_stored_once_with_its_envelope(server: Controller, tmp_path: Path) -> None:
    with client(server) as smtp:
        smtp.sendmail("a@x.org", ["b@x.org", "c@x.org"], b"Subject: hello\r\n\r\nworld\r\n")
        smtp.sendmail("", ["b@x.org"], b"From someone Mon\r\n continued\r\n\r\nworld\r\n")
    maildir = Maildir(tmp_path / "m", create=False)
    texts = [maildir.open(message.key).read() for message in maildir.messages()]
    assert sorted(texts) == [
        b"Return-Path: <>\nDelivered-To: b@x.org\n\n continued\n\nworld\n",
        b"Return-Path: <a@x.org>\nDelivered-To: b@x.org\nDelivered-To: c@x.org\nSubject: hello\n\nworld\n",
    ]


def test_a_storage_fault_is_temporary_and_names_no_path(
    server: Controller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for error in (TemporaryError(f"{tmp_path}: gone"), RuntimeError(str(tmp_path))):

        async def fails(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(Maildir, "deliver_async", fails)
        with client(server) as smtp, pytest.raises(smtplib.SMTPDataError) as refused:
            smtp.sendmail("a@x.org", ["b@x.org"], b"Subject: x\r\n\r\n")
        assert refused.value.smtp_code == 451
        assert str(tmp_path) not in str(refused.value)


def test_any_other_exception_is_451_without_its_words(
    server: Controller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """aiosmtpd itself would answer 500 with the exception's class and words: the sender would give up."""

    async def fails(*_: object) -> None:
        raise LookupError(str(tmp_path))

    monkeypatch.setattr(SMTP, "smtp_RCPT", fails)
    with client(server) as smtp:
        smtp.ehlo()
        smtp.mail("a@x.org")
        assert smtp.rcpt("b@x.org") == (451, b"4.3.0 Internal error, try again later")
