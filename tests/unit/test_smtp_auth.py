"""AUTH: any password in test mode, the right one where a file says so, over TLS where there is TLS."""

from __future__ import annotations

import base64
import smtplib
import ssl
from pathlib import Path

import pytest
from smtp_support import Wire, serving, stored

from maildir_safe._smtp.protocol.auth import Passwords, hash_password
from maildir_safe._smtp.server.settings import Settings

MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def passwords(tmp_path: Path) -> str:
    path = tmp_path / "passwords"
    path.write_text(f"# people\n\nalice:{hash_password('s3cret')}\nböb:{hash_password('pä:ss')}\n")
    return str(path)


def test_any_password_does_in_test_mode(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        for mechanism in ("PLAIN", "LOGIN"):
            with smtplib.SMTP(server.host, server.port) as client:
                client.ehlo()
                client.user, client.password = "anybody", "anything"
                assert client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))[0] == 235
                client.sendmail("a@b", ["c@d"], MESSAGE)
    messages = stored(tmp_path / "M")
    assert len(messages) == 2
    assert all(b"with ESMTPA\n" in message for message in messages)


def test_a_sender_that_knows_cram_md5_only_can_be_tested(tmp_path: Path) -> None:
    with serving(tmp_path, auth_mechanisms=["CRAM-MD5"]) as server:
        with smtplib.SMTP(server.host, server.port) as client:
            client.login("anybody", "anything")
            client.sendmail("a@b", ["c@d"], MESSAGE)
        wire = Wire(server.service.smtp_addresses[0])
        assert "250-AUTH CRAM-MD5\n" in wire.ask("EHLO x").replace("\r", "") + "\n"
        assert wire.ask("AUTH PLAIN " + b64("\0a\0b")).startswith("504 5.5.4 AUTH is CRAM-MD5")
        assert wire.ask("AUTH CRAM-MD5 " + b64("a")).startswith("501 5.7.0")
        assert wire.ask("AUTH CRAM-MD5").startswith("334 ")
        assert wire.ask(b64("a 0123")).startswith("501 5.5.2")
        assert wire.ask("AUTH CRAM-MD5").startswith("334 ")
        assert wire.ask("*").startswith("501 5.7.0")
    [message] = stored(tmp_path / "M")
    assert b"with ESMTPA\n" in message


def test_a_sender_that_needs_a_server_without_auth_can_be_tested(tmp_path: Path) -> None:
    with serving(tmp_path, auth_mechanisms=[]) as server:
        with smtplib.SMTP(server.host, server.port) as client:
            client.ehlo()
            assert not client.has_extn("auth")
            with pytest.raises(smtplib.SMTPNotSupportedError):
                client.login("anybody", "anything")
            client.sendmail("a@b", ["c@d"], MESSAGE)
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO x")
        assert wire.ask("AUTH PLAIN " + b64("\0a\0b")).startswith("502")
    assert len(stored(tmp_path / "M")) == 1


@pytest.mark.parametrize("other", [{"auth": "passwords"}, {"map": "/mail/{local}"}, {"queue": "spool"}])
@pytest.mark.parametrize("offered", [[], ["CRAM-MD5"], ["PLAIN"]])
def test_outside_of_test_mode_the_mechanisms_cannot_be_chosen(
    other: dict[str, str], offered: list[str]
) -> None:
    with pytest.raises(ValueError, match="test mode only"):
        Settings(auth_mechanisms=offered, **other).check()  # type: ignore[arg-type]
    Settings(**other).check()  # type: ignore[arg-type]


def test_a_mechanism_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="XOAUTH2"):
        Settings(auth_mechanisms=["PLAIN", "XOAUTH2"]).check()


def test_the_right_password_and_nothing_else(tmp_path: Path, passwords: str) -> None:
    with serving(tmp_path, auth=passwords) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO x")
        assert wire.ask("MAIL FROM:<a@b>").startswith("530 5.7.0")
        assert wire.ask("AUTH PLAIN " + b64("\0alice\0wrong")).startswith("535 5.7.8")
        assert wire.ask("auth plain " + b64("\0böb\0pä:ss")).startswith("235 2.7.0")
        assert wire.ask("AUTH PLAIN " + b64("\0alice\0s3cret")).startswith("503 5.5.1")
        assert wire.ask("MAIL FROM:<a@b>").startswith("250")
        log = server.text.getvalue()  # type: ignore[attr-defined]
    assert "wrong" not in log
    assert 'smtp auth-failed peer="127.0.0.1" name="alice"\n' in log
    assert b64("\0alice\0wrong") not in log


def test_three_wrong_passwords_end_the_connection(tmp_path: Path, passwords: str) -> None:
    with serving(tmp_path, auth=passwords) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO x")
        codes = [wire.ask("AUTH PLAIN " + b64(f"\0nobody\0{n}"))[:3] for n in range(3)]
        assert codes == ["535", "535", "421"]
        assert wire.reply() == ""


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["AUTH"], "501"),
        (["AUTH CRAM-MD5"], "504"),
        (["AUTH PLAIN ???"], "501 5.5.2"),
        (["AUTH PLAIN " + b64("a")], "501 5.5.2"),
        (["AUTH PLAIN", "*"], "501 5.7.0"),
        (["AUTH LOGIN", b64("alice"), "*"], "501 5.7.0"),
        (["AUTH LOGIN =", b64("x")], "535"),
    ],
)
def test_dialogues_that_go_wrong(tmp_path: Path, passwords: str, lines: list[str], code: str) -> None:
    with serving(tmp_path, auth=passwords) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO x")
        for line in lines[:-1]:
            assert wire.ask(line).startswith("334")
        assert wire.ask(lines[-1]).startswith(code)
        assert wire.ask("NOOP").startswith("250")


def test_passwords_go_over_tls_where_there_is_tls(tmp_path: Path, passwords: str) -> None:
    with (
        serving(tmp_path, auth=passwords, tls="made") as server,
        smtplib.SMTP(server.host, server.port) as client,
    ):
        client.ehlo()
        assert "auth" not in client.esmtp_features
        assert client.docmd("AUTH PLAIN " + b64("\0alice\0s3cret"))[0] == 538
        client.starttls(context=ssl.create_default_context(cafile=server.service.ca))
        client.login("alice", "s3cret")
        client.sendmail("a@b", ["c@d"], MESSAGE)
    (message,) = stored(tmp_path / "M")
    assert b"with ESMTPSA\n" in message


def test_no_clear_text_passwords_beyond_this_machine(tmp_path: Path, passwords: str) -> None:
    with (
        pytest.raises(ValueError, match="--auth needs --tls"),
        serving(tmp_path, auth=passwords, smtp=["0.0.0.0:0"]),
    ):
        pass


@pytest.mark.parametrize("line", ["alice", "alice:s3cret", "alice:$scrypt$ln=1$x$y"])
def test_password_files_that_cannot_be(tmp_path: Path, line: str) -> None:
    path = tmp_path / "passwords"
    path.write_text(f"{line}\n")
    with pytest.raises(ValueError, match=r"passwords:1: .*scrypt"):
        Passwords.read(str(path))
    with pytest.raises(ValueError, match="scrypt"):
        Passwords({"alice": line})


def test_the_same_password_is_never_the_same_hash() -> None:
    assert hash_password("x") != hash_password("x")
