"""The email backend for Django, in a real Django."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage, get_connection, send_mail
from django.core.management import CommandError, call_command
from django.test.utils import override_settings

from maildir_safe import PermanentError, Queue, TemporaryError
from maildir_safe.contrib.django import QueueBackend
from tests.spool_support import queued
from tests.unit.test_queue_smtp import Server

BACKEND = "maildir_safe.contrib.django.QueueBackend"

if not settings.configured:
    settings.configure(EMAIL_BACKEND=BACKEND, INSTALLED_APPS=["maildir_safe.contrib.django"])
    django.setup()


@pytest.fixture(autouse=True)
def mail_is_queued(spool: Path) -> Iterator[None]:
    with override_settings(EMAIL_BACKEND=BACKEND, MAILDIR_SAFE_SPOOL=str(spool)):
        yield


def test_mail_is_queued_with_its_envelope(spool: Path) -> None:
    message = EmailMessage(
        "Gr\xfc\xdfe", "From here\n.\n", "Ann <a@b.example>", ["c@d.example"], ["secret@x.example"],
        cc=["J\xfcrgen <e@m\xfcller.example>"],
    )  # fmt: skip
    assert message.send() == 1
    ((sender, recipients, text),) = queued(spool)
    assert sender == "a@b.example"
    assert recipients == ("c@d.example", "e@xn--mller-kva.example", "secret@x.example")
    assert b"secret" not in text
    assert b"\r" not in text
    assert text.endswith(b"\n\nFrom here\n.\n")


def test_send_mail_and_several_messages(spool: Path) -> None:
    assert send_mail("s", "text", None, ["a@b.example"]) == 1
    many = [EmailMessage("s", "t", "f@x", [f"r{n}@x" for n in range(count)]) for count in (1, 0, 120)]
    assert get_connection().send_messages(many) == 2
    assert sorted(len(recipients) for _, recipients, _ in queued(spool)) == [1, 1, 20, 50, 50]
    assert get_connection().send_messages([]) == 0


def test_an_address_that_is_not_one_queues_nothing(spool: Path) -> None:
    messages = [EmailMessage("s", "t", "f@x", ["good@x"]), EmailMessage("s", "t", "f@x", ["a b@x"])]
    with pytest.raises(PermanentError):
        get_connection().send_messages(messages)
    assert get_connection(fail_silently=True).send_messages(messages) == 0
    assert queued(spool) == []


def test_no_spool_is_an_error_and_none_is_made(spool: Path) -> None:
    spool.rename(spool.with_name("away"))
    with pytest.raises(TemporaryError):
        send_mail("s", "text", "a@b", ["c@d"])
    assert send_mail("s", "text", "a@b", ["c@d"], fail_silently=True) == 0
    assert not spool.exists()


def test_the_spool_must_be_named() -> None:
    with override_settings(MAILDIR_SAFE_SPOOL=None), pytest.raises(ImproperlyConfigured):
        QueueBackend()


def test_the_spool_as_an_option(spool: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    Queue(other).close()
    assert QueueBackend(spool=str(other)).send_messages([EmailMessage("s", "t", "a@b", ["c@d"])]) == 1
    assert queued(spool) == []
    assert len(queued(other)) == 1


def test_the_command_sends_what_is_queued(spool: Path) -> None:
    server = Server({}, ["250 ok"])
    try:
        assert send_mail("s", "text", "a@b.example", ["c@d.example"]) == 1
        call_command(
            "maildir_safe_work", f"--to=lmtp://127.0.0.1:{server.port}", "--once", "--hostname=us.example"
        )
        assert "LHLO us.example" in [line.replace("lhlo", "LHLO") for line in server.lines]
        assert server.data.endswith(b"text\r\n")
    finally:
        server.close()
    assert queued(spool) == []


def test_the_command_makes_the_spool(spool: Path, tmp_path: Path) -> None:
    with override_settings(MAILDIR_SAFE_SPOOL=str(tmp_path / "made")):
        call_command("maildir_safe_work", "--to=smtp://127.0.0.1:9", "--once")
        assert send_mail("s", "text", "a@b.example", ["c@d.example"]) == 1
        with pytest.raises(CommandError) as told:
            call_command("maildir_safe_work", "--to=smtp://127.0.0.1:9", "--once")
    assert told.value.returncode == 75
    assert len(queued(tmp_path / "made")) == 1
    assert queued(spool) == []


def test_what_is_wrong_with_the_command(spool: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--to"):
        call_command("maildir_safe_work")
    with pytest.raises(CommandError) as told:
        call_command("maildir_safe_work", "--to=http://x")
    assert told.value.returncode == 64
    with override_settings(MAILDIR_SAFE_SPOOL=None), pytest.raises(CommandError, match="MAILDIR_SAFE_SPOOL"):
        call_command("maildir_safe_work", "--to=smtp://127.0.0.1:9")
    (tmp_path / "file").write_text("")
    with override_settings(MAILDIR_SAFE_SPOOL=str(tmp_path / "file")), pytest.raises(CommandError) as told:
        call_command("maildir_safe_work", "--to=smtp://127.0.0.1:9")
    assert told.value.returncode == 75
    assert queued(spool) == []
