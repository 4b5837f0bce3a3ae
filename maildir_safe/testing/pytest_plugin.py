"""The pytest fixture `maildir_smtp`: a separate SMTP server for each test that uses it.

    def test_welcome(maildir_smtp):
        send_welcome_mail("ada@example.com", host=maildir_smtp.host, port=maildir_smtp.port)
        assert maildir_smtp.wait(to="ada@example.com")["Subject"] == "Welcome"

    @pytest.mark.maildir_smtp(tls=True, auth={"app": "secret"}, max_size=1000)
    def test_large_mail(maildir_smtp): ...

The arguments of the marker are those of `maildir_safe.testing.smtp_fixture.MaildirSmtp`. When a test
fails, its report says what mail came and where it lies: pytest keeps the directory (`tmp_path`).
Loading this module imports nothing but pytest: the server is loaded by the first test that wants it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from maildir_safe.testing.smtp_fixture import MaildirSmtp

    _SERVER = pytest.StashKey[MaildirSmtp]()
else:
    _SERVER = pytest.StashKey()
_SHOWN = 50


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        "maildir_smtp(tls=False, auth=None, port=0, **settings): how maildir_smtp serves",
    )


@pytest.fixture
def maildir_smtp(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MaildirSmtp]:
    """An SMTP server on a free port of 127.0.0.1, with its mail in a Maildir below `tmp_path`."""
    from maildir_safe.testing.smtp_fixture import MaildirSmtp

    marker = request.node.get_closest_marker("maildir_smtp")
    place = tmp_path / "maildir_smtp"
    place.mkdir()
    with MaildirSmtp(place, **(marker.kwargs if marker else {})) as server:
        request.node.stash[_SERVER] = server
        yield server


@pytest.hookimpl(hookwrapper=True)  # the older kind of wrapper: pytest 7 has no other
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Add the received messages to the report of a failed test. No message can end the session."""
    outcome = yield
    server = item.stash.get(_SERVER, None)
    if server is not None and outcome.get_result().failed:
        text = _what_came(server).encode("utf-8", "backslashreplace").decode()
        outcome.get_result().sections.append(("maildir_smtp", text))


def _what_came(server: MaildirSmtp) -> str:
    try:
        messages = server.messages
        lines = [f"{len(messages)} messages in {server.maildir.path}", *map(repr, messages[:_SHOWN])]
    except Exception as error:  # noqa: BLE001 - a test may do anything to its Maildir and its messages
        lines = [f"the messages cannot be read: {type(error).__name__}: {error}"]
    return "\n".join(lines) + f"\n{server.log}"
