"""Real programs send mail to a real server process: swaks, msmtp, curl, smtp-source, and Postfix by LMTP."""

from __future__ import annotations

import shutil
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mta import Postfix, delivered, need, scratch
from smtp_support import Serve, unchanged_for_long

from maildir_safe import Maildir
from maildir_safe._smtp.protocol.auth import hash_password

pytestmark = pytest.mark.mounts

MESSAGE = b"From: ann@example.com\nTo: bob@example.org\nSubject: hello\n\n.a line with a dot\n\xc3\xa4\n"


@pytest.fixture
def base() -> Iterator[Path]:
    with scratch() as path:
        yield path


@pytest.fixture
def secure(base: Path) -> Iterator[Serve]:
    """A server with TLS and a password."""
    (base / "passwords").write_text(f"ann:{hash_password('s3cret')}\n")
    serve = Serve(base, "--tls", "--auth", "passwords")
    yield serve
    assert serve.end()[0] == 0


def ca_of(serve: Serve) -> str:
    return next(line.split()[1] for line in serve.banner.splitlines() if line.startswith("CA "))


def run(*words: str, stdin: bytes = b"", good: bool = True) -> str:
    done = subprocess.run(
        [need(words[0]), *words[1:]], input=stdin, capture_output=True, timeout=240, check=False
    )
    text = (done.stdout + done.stderr).decode(errors="replace")
    assert (done.returncode == 0) == good, text
    return text


def port_of(serve: Serve) -> str:
    return serve.address.rpartition(":")[2]


def test_swaks_with_tls_and_each_mechanism(base: Path, secure: Serve) -> None:
    common = [
        "swaks",
        "--server",
        secure.address,
        "--from",
        "ann@example.com",
        "--to",
        "bob@example.org,cy@x",
    ]
    trust = ["--tls", "--tls-verify", "--tls-ca-path", ca_of(secure), "--tls-sni", "localhost"]
    for mechanism in ("PLAIN", "LOGIN"):
        words = ["--auth", mechanism, "--auth-user", "ann", "--auth-password", "s3cret"]
        assert "250 2.0.0 Stored as" in run(*common, *trust, *words)
    wrong = ["--auth", "PLAIN", "--auth-user", "ann", "--auth-password", "wrong"]
    assert "535 5.7.8" in run(*common, *trust, *wrong, good=False)
    assert "530 5.7.0" in run(*common, good=False)
    messages = delivered(base / "Maildir")
    assert len(messages) == 2
    for message in messages:
        assert message.startswith(
            b"Return-Path: <ann@example.com>\nDelivered-To: bob@example.org\nDelivered-To: cy@x\nReceived: "
        )
        assert b"with ESMTPSA" in message
        assert b"\nThis is a test mailing\n" in message


def test_swaks_pipelined(base: Path) -> None:
    serve = Serve(base)
    words = ["--server", serve.address, "--to", "a@x,b@x,c@x", "--from", "<>", "--pipeline", "--body", "."]
    assert "250 2.0.0 Stored as" in run("swaks", *words)
    assert serve.end()[0] == 0
    (message,) = delivered(base / "Maildir")
    assert message.startswith(b"Return-Path: <>\nDelivered-To: a@x\nDelivered-To: b@x\nDelivered-To: c@x\n")


def test_msmtp_with_tls_and_password(base: Path, secure: Serve) -> None:
    words = ["--host=localhost", f"--port={port_of(secure)}", "--from=ann@example.com", "--tls=on"]
    words += [f"--tls-trust-file={ca_of(secure)}", "--auth=plain", "--user=ann", "--passwordeval=echo s3cret"]
    run("msmtp", *words, "bob@example.org", stdin=MESSAGE)
    (message,) = delivered(base / "Maildir")
    assert message.endswith(MESSAGE)


def test_curl_with_tls_and_password(base: Path, secure: Serve) -> None:
    (base / "message").write_bytes(MESSAGE.replace(b"\n", b"\r\n"))
    words = ["--url", f"smtp://localhost:{port_of(secure)}", "--ssl-reqd", "--cacert", ca_of(secure)]
    words += ["--user", "ann:s3cret", "--mail-from", "ann@example.com", "--mail-rcpt", "bob@example.org"]
    run("curl", "-sS", *words, "-T", str(base / "message"))
    (message,) = delivered(base / "Maildir")
    assert message.endswith(MESSAGE)


@pytest.mark.parametrize("lmtp", [False, True])
def test_smtp_source_under_load(base: Path, lmtp: bool) -> None:
    """Postfix's load generator: 1,000 messages over 32 connections; each is there once."""
    serve = Serve(base, "--lmtp", "./lmtp.sock")
    where = ["-L", f"unix:{base}/lmtp.sock"] if lmtp else [f"inet:{serve.address}"]
    run("smtp-source", "-s", "32", "-m", "1000", "-l", "4096", "-r", "3", "-f", "a@x", "-t", "b@x", *where)
    code, log = serve.end()
    assert code == 0
    assert log.count(" stored ") == 1000
    messages = delivered(base / "Maildir")
    assert len(messages) == 1000
    assert all(message.count(b"\nDelivered-To: ") == 3 for message in messages)


def test_postfix_by_lmtp_two_recipients_one_refused(base: Path) -> None:
    """Postfix hears of each recipient by itself: one is stored, the other bounces with our reason."""
    mail = base / "mail"
    (mail / "example.org").mkdir(parents=True)
    Maildir(mail / "example.org" / "bob")
    unchanged_for_long(mail / "example.org")
    serve = Serve(base, "--map", f"{mail}/{{domain}}/{{local}}", "--lmtp", f"{base}/lmtp.sock")
    (base / "lmtp.sock").chmod(0o777)  # Postfix connects as its own user
    with _postfix(base) as postfix:
        with _client(postfix) as client:
            client.sendmail("ann@example.com", ["bob@example.org", "nobody@example.org"], MESSAGE)
        assert "to=<bob@example.org>" in postfix.outcome("sent")
        bounced = postfix.outcome("bounced")
    assert "to=<nobody@example.org>" in bounced
    assert "dsn=5.1.1" in bounced
    assert "550 5.1.1 No such mailbox here (in reply to RCPT TO command)" in bounced
    code, log = serve.end()
    assert code == 0
    (message,) = delivered(mail / "example.org" / "bob")
    assert message.startswith(
        b"Return-Path: <ann@example.com>\nDelivered-To: bob@example.org\nReceived: from "
    )
    assert b"with LMTP\n\tfor <bob@example.org>;" in message
    assert log.count(" stored ") == 1


def test_postfix_in_a_chroot_reaches_a_socket_of_its_group(base: Path) -> None:
    """As docs/howto/production.md says, with Debian's chroot."""
    (base / "mail").mkdir()
    Maildir(base / "mail" / "bob")
    main = "virtual_mailbox_domains = example.org\nvirtual_transport = lmtp:unix:maildir-safe/lmtp\n"
    postfix = Postfix(base, main, "lmtp unix - - y - - lmtp\n")
    directory = base / "queue" / "maildir-safe"
    directory.mkdir()
    shutil.chown(directory, group="postfix")
    directory.chmod(0o2750)
    serve = Serve(base, "--map", f"{base}/mail/{{local}}", "--lmtp", f"{directory}/lmtp",
                  "--lmtp-mode", "0660", "--lmtp-group", "postfix")  # fmt: skip
    with postfix:
        with _client(postfix) as client:
            client.sendmail("ann@example.com", ["bob@example.org"], MESSAGE)
        assert "to=<bob@example.org>" in postfix.outcome("sent")
    assert serve.end()[0] == 0
    assert len(delivered(base / "mail" / "bob")) == 1


def test_postfix_keeps_what_the_storage_refuses(base: Path) -> None:
    """One recipient's Maildir is broken: it alone is deferred, and delivered once it is repaired."""
    mail = base / "mail"
    mail.mkdir()
    for name in ("bob", "cy"):
        Maildir(mail / name)
    (mail / "cy" / "new").rmdir()
    serve = Serve(base, "--map", f"{mail}/{{local}}", "--lmtp", f"{base}/lmtp.sock")
    (base / "lmtp.sock").chmod(0o777)
    with _postfix(base) as postfix:
        with _client(postfix) as client:
            client.sendmail("ann@example.com", ["bob@example.org", "cy@example.org"], MESSAGE)
        assert "to=<bob@example.org>" in postfix.outcome("sent")
        deferred = postfix.outcome("deferred")
        assert "to=<cy@example.org>" in deferred
        assert "dsn=4.2.0" in deferred
        assert str(mail) not in deferred
        (mail / "cy" / "new").mkdir()
        postfix.retry()
        assert "to=<cy@example.org>" in postfix.outcome("sent", 2)
        postfix.emptied()
    assert serve.end()[0] == 0
    assert [len(delivered(mail / name)) for name in ("bob", "cy")] == [1, 1]


def _postfix(base: Path) -> Postfix:
    main = f"virtual_mailbox_domains = example.org\nvirtual_transport = lmtp:unix:{base}/lmtp.sock\n"
    return Postfix(base, main, "lmtp unix - - n - - lmtp\n")


def _client(postfix: Postfix) -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", postfix.port, timeout=20)


PERL = r"""
use strict; use Net::SMTP;
local $/; binmode STDIN; my $message = <STDIN>;
my $smtp = Net::SMTP->new($ARGV[0], Hello => "client.example") or die "no connection";
$smtp->mail('a@example.com', Bits => "binary") and $smtp->to('b@example.org') or die $smtp->message;
my $half = int(length($message) / 2);
$smtp->bdat(substr($message, 0, $half)) and $smtp->bdatlast(substr($message, $half)) or die $smtp->message;
$smtp->quit;
"""


def test_perls_net_smtp_sends_binary_mime(base: Path) -> None:
    message = MESSAGE.replace(b"\n", b"\r\n") + bytes(range(256)) * 20
    serve = Serve(base)
    run("perl", "-e", PERL, serve.address, stdin=message)
    assert serve.end()[0] == 0
    (one,) = Maildir(base / "Maildir").messages()
    with Maildir(base / "Maildir").open(one.key) as file:
        raw = file.read()
    assert raw.endswith(b"\n" + message)
