"""`serve --recognise-repeats`: a message that is sent again without ENVID is stored once, by any host."""

from __future__ import annotations

from pathlib import Path

import pytest
from smtp_support import Wire, serving

from maildir_safe import Maildir, Queue

MESSAGE = b"Subject: s\r\nMessage-ID: <1@example.org>\r\n\r\nx\r\n"
NAMED_IN_THE_BODY = b"Subject: s\r\nMessage-ID:\r\n\r\nMessage-ID: <1@example.org>\r\n"


def count(place: Path) -> int:
    """The messages in a Maildir or a spool."""
    if (place / "pending").is_dir():
        return len(list(Queue(place, create=False).items()))
    return sum(1 for _ in (place / "new").iterdir())


@pytest.fixture(params=["maildir", "queue"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A store that two hosts share, and the setting that names it."""
    path = tmp_path / "store"
    if request.param == "maildir":
        Maildir(path).close()
    else:
        Queue(path).close()
    return path, {request.param: str(path)}


def send(tmp_path: Path, setting: dict[str, str], message: bytes, sender: str = "a@b", **more: bool) -> None:
    """Send a message to a host of its own."""
    with serving(tmp_path, **{**setting, **more}) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO x")
        wire.ask(f"MAIL FROM:<{sender}>")
        wire.ask("RCPT TO:<c@d>")
        wire.ask("DATA")
        assert wire.ask(message + b".").startswith("250")


@pytest.mark.parametrize(
    ("on", "message", "wanted"), [(True, MESSAGE, 1), (False, MESSAGE, 2), (True, NAMED_IN_THE_BODY, 2)]
)
def test_the_other_host_recognises_it(
    tmp_path: Path, place: tuple[Path, dict[str, str]], on: bool, message: bytes, wanted: int
) -> None:
    path, setting = place
    for _ in range(2):
        send(tmp_path, setting, message, recognise_repeats=on)
    assert count(path) == wanted


@pytest.mark.parametrize(
    ("header", "logged"),
    [
        (b"Subject: s\r\nMESSAGE-Id: <1@example.org>\r\n", 'message_id="<1@example.org>" sender='),
        (b"Message-ID:\r\n <long@example.org>\r\n", 'message_id="<long@example.org>" sender='),
        (
            b"Message-ID: \x1b[1m\xff" + b"x" * 900 + b"\r\n",
            'message_id="\\u001b[1m\\\\xff' + "x" * 247 + '" sender=',
        ),
        (b"X-Message-ID: <1@example.org>\r\nMessage-ID:\r\n", 'stored peer="127.0.0.1" sender='),
    ],
)
def test_the_log_has_the_message_id(tmp_path: Path, header: bytes, logged: str) -> None:
    with serving(tmp_path) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data()
        assert wire.ask(header + b"\r\nMessage-ID: <body@example.org>\r\n.").startswith("250")
    assert logged in server.text.getvalue()  # type: ignore[attr-defined]


def test_another_sender_or_another_byte_is_another_message(
    tmp_path: Path, place: tuple[Path, dict[str, str]]
) -> None:
    path, setting = place
    send(tmp_path, setting, MESSAGE, recognise_repeats=True)
    send(tmp_path, setting, MESSAGE, sender="z@b", recognise_repeats=True)
    send(tmp_path, setting, MESSAGE + b"y\r\n", recognise_repeats=True)
    assert count(path) == 3
