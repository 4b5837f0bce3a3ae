"""The email backend for Django, in a real Django."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage, get_connection, send_mail
from django.test.utils import override_settings

from maildir_safe import PermanentError, Queue, TemporaryError
from maildir_safe.contrib.django import QueueBackend
from tests.spool_support import queued

BACKEND = "maildir_safe.contrib.django.QueueBackend"

if not settings.configured:
    settings.configure(EMAIL_BACKEND=BACKEND)
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
