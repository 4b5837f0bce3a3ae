"""The pytest fixture `maildir_smtp`: a separate SMTP server for each test that uses it.

`maildir_smtp_module` is one server for all tests of a module, `maildir_smtp_session` one for all
tests: for a program that is started once. Its messages stay from one test to the next; see `clear`.

    def test_welcome(maildir_smtp):
        send_welcome_mail("ada@example.com", host=maildir_smtp.host, port=maildir_smtp.port)
        maildir_smtp.assert_sent(to="ada@example.com", subject="Welcome", body="Hello Ada")

    @pytest.mark.maildir_smtp(tls=True, auth={"app": "secret"}, max_size=1000)
    def test_large_mail(maildir_smtp): ...

The arguments of the marker are those of `maildir_safe.testing.smtp_fixture.MaildirSmtp`; those of a
module's server are in the module's `pytestmark`. When a test fails, its report says what mail came and
where it lies: pytest keeps the directory. Loading this module imports nothing but pytest: the server is
loaded by the first test that wants it.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from maildir_safe.testing.smtp_fixture import MaildirSmtp

_NAMES = ("maildir_smtp", "maildir_smtp_module", "maildir_smtp_session")
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
    with _serving(request, tmp_path / "maildir_smtp") as server:
        yield server


@pytest.fixture(scope="module")
def maildir_smtp_module(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MaildirSmtp]:
    """An SMTP server for all tests of a module."""
    with _serving(request, tmp_path_factory.mktemp("maildir_smtp") / "module") as server:
        yield server


@pytest.fixture(scope="session")
def maildir_smtp_session(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MaildirSmtp]:
    """An SMTP server for all tests."""
    with _serving(request, tmp_path_factory.mktemp("maildir_smtp") / "session") as server:
        yield server


def _serving(request: pytest.FixtureRequest, place: Path) -> MaildirSmtp:
    from maildir_safe.testing.smtp_fixture import MaildirSmtp

    marker = request.node.get_closest_marker("maildir_smtp") if request.scope != "session" else None
    place.mkdir()
    return MaildirSmtp(place, **(marker.kwargs if marker else {}))


@pytest.hookimpl(hookwrapper=True)  # the older kind of wrapper: pytest 7 has no other
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Add the received messages to the report of a failed test. No message can end the session."""
    outcome = yield
    if not outcome.get_result().failed:
        return
    ours = sys.modules.get("maildir_safe.testing.smtp_fixture")
    if ours is None:
        return
    for name in _NAMES:
        server = getattr(item, "funcargs", {}).get(name)
        if isinstance(server, ours.MaildirSmtp):
            text = _what_came(server).encode("utf-8", "backslashreplace").decode()
            outcome.get_result().sections.append((name, text))


def _what_came(server: MaildirSmtp) -> str:
    try:
        messages = server.messages
        lines = [f"{len(messages)} messages in {server.directory}", *map(repr, messages[:_SHOWN])]
    except Exception as error:  # noqa: BLE001 - a test may do anything to its Maildir and its messages
        lines = [f"the messages cannot be read: {type(error).__name__}: {error}"]
    return "\n".join(lines) + f"\n{server.log}"
