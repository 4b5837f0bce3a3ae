"""The fixture `maildir_smtp` as its users have it, and every example of docs/howto/test-fixtures.md."""

from __future__ import annotations

import logging
import re
import smtplib
import subprocess
import sys
from pathlib import Path

import pytest

from maildir_safe import Maildir
from maildir_safe.testing.received_message import received_message
from maildir_safe.testing.smtp_fixture import MaildirSmtp

pytest_plugins = ["pytester"]

DOCUMENT = Path(__file__).parents[2] / "docs/howto/test-fixtures.md"
EXAMPLES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", DOCUMENT.read_text(), re.DOTALL))
PASSED = {
    "test_plain.py": 1, "test_options.py": 1, "test_faults.py": 3, "test_django.py": 3, "test_flask.py": 2,
    "test_without_pytest.py": 1, "test_simulated.py": 2, "test_mount.py": 2, "test_sent.py": 2,
    "test_two_mailboxes.py": 1,
}  # fmt: skip


def test_every_example_is_run_here() -> None:
    assert EXAMPLES.keys() == PASSED.keys()
    assert DOCUMENT.read_text().count("```python") == len(EXAMPLES)


@pytest.mark.parametrize("name", sorted(PASSED.keys() - {"test_mount.py"}))
def test_example(pytester: pytest.Pytester, name: str) -> None:
    pytester.path.joinpath(name).write_text(EXAMPLES[name])
    pytester.runpytest_subprocess("-q", "-W", "error").assert_outcomes(passed=PASSED[name])


@pytest.mark.mounts
def test_example_of_the_fault_mount(pytester: pytest.Pytester) -> None:
    pytester.path.joinpath("test_mount.py").write_text(EXAMPLES["test_mount.py"])
    pytester.runpytest_subprocess("-q").assert_outcomes(passed=PASSED["test_mount.py"])


SEND = """
import smtplib

def send(smtp, subject="hello", to="ada@example.com"):
    with smtplib.SMTP(smtp.host, smtp.port) as client:
        client.sendmail("me@example.com", [to], f"Subject: {subject}\\n\\n")
"""


def test_each_worker_and_each_test_has_a_server_of_its_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        SEND
        + """
import pathlib, pytest

@pytest.mark.parametrize("number", range(24))
def test_alone(maildir_smtp, number):
    send(maildir_smtp, f"n{number}")
    assert [message["Subject"] for message in maildir_smtp.messages] == [f"n{number}"]
    with pathlib.Path(__file__).with_name("seen").open("a") as seen:
        seen.write(f"{maildir_smtp.maildir.path}\\n")
"""
    )
    pytester.runpytest_subprocess("-n", "3").assert_outcomes(passed=24)
    paths = (pytester.path / "seen").read_text().splitlines()
    assert len(set(paths)) == 24
    assert len({path.split("popen-gw")[-1][0] for path in paths}) == 3


def test_a_failed_test_tells_what_came_and_keeps_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        SEND
        + """
def test_fails(maildir_smtp):
    send(maildir_smtp, "unexpected", "bob@example.com")
    maildir_smtp.wait(to="ada@example.com", timeout=0.1)

def test_passes(maildir_smtp):
    send(maildir_smtp)
"""
    )
    result = pytester.runpytest_subprocess("-n", "1")
    result.assert_outcomes(passed=1, failed=1)
    text = result.stdout.str()
    assert "no new message to 'ada@example.com' about '' in 0.1 s" in text
    found = re.findall(r"1 messages in (\S+)\n<'me@example.com' to bob@example.com: 'unexpected'>", text)
    assert len(found) == 1
    (message,) = Maildir(found[0], create=False).messages()
    assert message.subdir == "new"
    assert 'smtp stored peer="127.0.0.1"' in text


def test_a_test_may_remove_the_maildir(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import shutil

def test_removes(maildir_smtp):
    shutil.rmtree(maildir_smtp.maildir.path)
    maildir_smtp.maildir.close()
    assert False, "on purpose"
"""
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    assert "on purpose" in result.stdout.str()
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_the_plugin_costs_nothing_until_it_is_used() -> None:
    loaded = "import sys, maildir_safe.testing.pytest_plugin; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert {"aiosmtpd", "maildir_safe._smtp", "maildir_safe._maildir.maildir"}.isdisjoint(done.stdout.split())


def test_a_misspelt_option_is_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import pytest

@pytest.mark.maildir_smtp(colour="red")
def test_it(maildir_smtp): pass
"""
    )
    result = pytester.runpytest_subprocess("--strict-markers")
    result.assert_outcomes(errors=1)
    assert "colour" in result.stdout.str()


def test_messages_are_as_they_were_sent(tmp_path: Path) -> None:
    raw = b"Received: from elsewhere\nDelivered-To: nobody\nSubject: \xc3\xa9\n\n.dot\n\n.\nlast"
    with MaildirSmtp(tmp_path) as smtp, smtplib.SMTP(smtp.host, smtp.port) as client:
        client.sendmail("", ["a@example.com", "b@example.com"], raw.replace(b"\n", b"\r\n"))
        client.sendmail("é@example.com", ["ü@example.com"], b"x", mail_options=["SMTPUTF8"])
        first, second = smtp.messages
        assert first.raw == raw + b"\n"
        assert (first.sender, first.recipients) == ("", ["a@example.com", "b@example.com"])
        assert (second.sender, second.recipients) == ("é@example.com", ["ü@example.com"])
        assert first["Delivered-To"] == "nobody"


def test_wait_gives_each_message_once_in_their_order(tmp_path: Path) -> None:
    with MaildirSmtp(tmp_path) as smtp:
        with smtplib.SMTP(smtp.host, smtp.port) as client:
            for subject in ("one", "other", "two", "three"):
                client.sendmail("a@b", ["Ada@Example.com"], f"Subject: {subject}\n\n")
        assert smtp.wait(subject="t")["Subject"] == "other"
        assert [smtp.wait(to="ada@", timeout=0)["Subject"] for _ in range(3)] == ["one", "two", "three"]
        with pytest.raises(TimeoutError, match=r"about 'one' in 0 s of .*'three'"):
            smtp.wait(subject="one", timeout=0)
        smtp.clear()
        assert smtp.messages == []
        smtp.maildir.deliver(b"Subject: by hand\n\n")
        assert (smtp.messages[0]["Subject"], smtp.messages[0].recipients) == ("by hand", [])


# Whatever comes, the session goes on


HOSTILE = """
import smtplib, pytest

MESSAGES = [
    b"Subject: =?utf-7?q?+2D4-?=\\r\\n\\r\\nhalf a character",
    b"\\t\\xfc\\r\\nSubject: x\\r\\n\\r\\n",
    b"Subject: \\xff\\xfe \\x1b[31m\\r\\nFrom: =?x?b?\\xff?= <\\xff@\\xfe>\\r\\n\\r\\n",
    b"From: " + b"(" * 100_000 + b"\\r\\nTo: " + b"a@b, " * 50_000 + b"\\r\\n\\r\\n",
    b"Content-Type: text/plain; charset=unknown\\r\\nContent-Type: " + b";" * 90_000 + b"\\r\\n\\r\\n\\xff",
]

@pytest.mark.parametrize("number", range(len(MESSAGES)))
def test_hostile(maildir_smtp, number):
    with smtplib.SMTP(maildir_smtp.host, maildir_smtp.port) as client:
        client.sendmail("me@example.com", ["ada@example.com"], MESSAGES[number])
    (message,) = maildir_smtp.messages
    assert repr(message).encode()
    for name in message.keys():
        str(message[name]).encode()
    maildir_smtp.wait(subject="nothing like that", timeout=0)
"""


def test_no_message_ends_the_session(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(HOSTILE)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=5)
    text = result.stdout.str() + result.stderr.str()
    assert text.count("TimeoutError: no new message") >= 5
    assert "INTERNALERROR" not in text


def test_no_state_of_the_maildir_ends_the_session(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import pathlib, pytest
from maildir_safe.testing.smtp_fixture import MaildirSmtp

def test_directory(maildir_smtp):
    pathlib.Path(maildir_smtp.maildir.path, "cur", "1.a").mkdir()
    maildir_smtp.maildir.deliver(b"Subject: x\\n\\n", sender="\\udcff", recipient="\\udcfe@b")
    assert len(maildir_smtp.messages) == 1
    assert False, "on purpose"

def test_broken(maildir_smtp, monkeypatch):
    def fail(self): raise OSError(5, "Input/output error \\udcff")
    monkeypatch.setattr(MaildirSmtp, "messages", property(fail))
    assert False, "on purpose"
"""
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=2)
    text = result.stdout.str() + result.stderr.str()
    assert text.count("AssertionError: on purpose") >= 2
    assert "INTERNALERROR" not in text
    assert "the messages cannot be read: OSError" in text


# Settings


def test_the_settings_say_where_it_listens_and_where_mail_goes(tmp_path: Path) -> None:
    with MaildirSmtp(tmp_path) as first:
        port = first.port
    place = tmp_path / "elsewhere"
    lmtp = str(tmp_path / "lmtp.sock")
    with MaildirSmtp(tmp_path, smtp=[f"127.0.0.1:{port}"], lmtp=[lmtp], maildir=place) as smtp:
        assert (smtp.port, smtp.lmtp_address) == (port, lmtp)
        with smtplib.LMTP(lmtp) as client:
            client.sendmail("a@b", ["c@d"], "Subject: by LMTP\n\n")
        assert smtp.wait()["Subject"] == "by LMTP"
        assert Path(smtp.maildir.path) == place
    with MaildirSmtp(tmp_path, port=port) as smtp:
        assert smtp.port == port
        with pytest.raises(ValueError, match="does not speak LMTP"):
            _ = smtp.lmtp_address
    with MaildirSmtp(tmp_path, smtp=[], lmtp=["127.0.0.1:0"]) as smtp:
        assert smtp.lmtp_address.startswith("127.0.0.1:")
        with pytest.raises(ValueError, match="does not speak SMTP"):
            _ = smtp.port
    with pytest.raises(ValueError, match="use one"):
        MaildirSmtp(tmp_path, port=port, smtp=["127.0.0.1:0"])


def test_the_marker_takes_every_setting(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import pytest

@pytest.mark.maildir_smtp(smtp=["127.0.0.1:0"], lmtp=["127.0.0.1:0"], hostname="mx.test")
def test_it(maildir_smtp):
    assert maildir_smtp.lmtp_address != f"127.0.0.1:{maildir_smtp.port}"
"""
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_the_loggers_of_the_process_stay_as_they_are(tmp_path: Path) -> None:
    levels = {name: logging.getLogger(name).level for name in ("mail.log", "asyncio", "uvicorn", "")}
    with MaildirSmtp(tmp_path) as smtp, smtplib.SMTP(smtp.host, smtp.port) as client:
        client.sendmail("a@b", ["c@d"], "Subject: x\n\n")
        assert {name: logging.getLogger(name).level for name in levels} == levels


# Messages


def test_headers_are_read_as_the_page_reads_them() -> None:
    raw = (
        "Subject: Grüße =?x-unknown?q?aus?= =?utf-8*de?q?K=C3=B6ln?=\n"
        "From: =?utf-8?q?boss=40bank=2C?= <ada@dömäin.example>, bob@example.com\n"
        "Date: Mon, 23 Nov 2026 09:30:00 +0000\nContent-Type: text/plain; charset=windows-874\n"
        "Content-Transfer-Encoding: base64 (as always)\n\noQ==\n"
    ).encode()
    message = received_message(raw)
    assert message["Subject"] == "Grüße ausKöln"
    assert message["From"] == '"boss@bank," <ada@dömäin.example>, bob@example.com'
    first, second = message["From"].addresses
    assert (first.display_name, first.addr_spec, second.addr_spec) == (
        "boss@bank,", "ada@dömäin.example", "bob@example.com",
    )  # fmt: skip
    assert message["Date"].datetime.hour == 9
    assert message.get_content() == "ก"


def test_attachments_have_their_names() -> None:
    raw = (
        "Content-Type: multipart/mixed; boundary=x\n\n--x\n\nbody\n--x\nContent-Type: application/pdf\n"
        'Content-Disposition: attachment; filename="Bericht ü.pdf"\n\npdf\n--x--\n'
    ).encode()
    message = received_message(raw)
    (part,) = message.iter_attachments()
    assert part.get_filename() == "Bericht ü.pdf"
    body = message.get_body()
    assert body is not None
    assert body.get_content() == "body"


@pytest.mark.parametrize(
    "raw",
    [
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(300))
        + b"\n" * 1_900_000,
        b"Content-Type: multipart/mixed; boundary=x\n\n"
        + (b"--x\nContent-Type: text/plain" + b";" * 30_000 + b"\n\nx\n") * 700,
        b"Content-Type: message/rfc822\n\n" * 5000 + b"\n" * 500_000,
        b"a: b\n" * 4_000_000,
    ],
    ids=["nested", "parameters", "messages", "fields"],
)
def test_a_message_that_costs_minutes_is_not_parsed(raw: bytes) -> None:
    message = received_message(b"Subject: x\n" + raw)
    assert message["Subject"] == "x"
    assert message.problem
    assert message.raw.endswith(raw)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"Content-Transfer-Encoding: base64\n\n" + b"A\n" * 1_100_000, "lines"),
        (
            b"Content-Type: text/plain; a*0=x" + b";\n a*1=x" * 1500 + b"\n\n" + b"x; a*1=y\n" * 600,
            "sections",
        ),
    ],
    ids=["lines", "sections"],
)
def test_what_the_librarys_parser_would_take_long_for_is_not_parsed(raw: bytes, problem: str) -> None:
    message = received_message(raw)
    assert problem in message.problem
    assert message.raw == raw
