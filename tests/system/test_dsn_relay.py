"""Reports that a sender asks for (RFC 3461), by SMTP or `sendmail`, through the queue to a real Postfix."""

from __future__ import annotations

import email
import os
import subprocess
import sys
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest
from mta import Postfix, delivered, scratch, wait_for, with_mailboxes
from smtp_support import Serve

from maildir_safe import Queue
from tests.system.smarthost import Smarthost

pytestmark = pytest.mark.mounts

SENDER, HERE, REFUSED = "ann@example.net", "bob@example.net", "gone@example.net"
MESSAGE = b"From: ann@example.net\r\nSubject: asked\r\n\r\nthe body\r\n"
NOTIFY = "NOTIFY=SUCCESS,FAILURE"


@pytest.fixture
def base() -> Iterator[Path]:
    with scratch() as path:
        Queue(path / "spool").close()
        yield path


def next_hop(base: Path, refusing: Smarthost, more: str = "") -> Postfix:
    """It takes mail for example.net into one mailbox, and one recipient's on to a server that refuses it."""
    transport = f"transport_maps = inline:{{ {{{REFUSED} = smtp:[127.0.0.1]:{refusing.port}}} }}"
    return with_mailboxes(base, f"{transport}\n{more}", "smtp unix - - n - - smtp\n")


def by_smtp(base: Path) -> None:
    serve = Serve(base, "--queue", str(base / "spool"))
    with serve.client() as client:
        assert client.ehlo()[0] == 250
        assert client.has_extn("dsn")
        assert client.mail(SENDER, ["RET=HDRS", "ENVID=QQ+2B314"])[0] == 250
        for address, original in ((HERE, "bob+2Bx@old.example"), (REFUSED, "gone@old.example")):
            assert client.rcpt(address, [NOTIFY, f"ORCPT=rfc822;{original}"])[0] == 250
        assert client.data(MESSAGE)[0] == 250
    assert serve.end()[0] == 0


def by_sendmail(base: Path) -> None:
    config = base / "sendmail.toml"
    config.write_text(f'spool = "{base}/spool"\ndomain = "example.net"\n')
    options = ["-f", SENDER, "-N", "success,failure", "-R", "hdrs", "-V", "QQ+314"]
    environment = {**os.environ, "MAILDIR_SAFE_SENDMAIL_CONFIG": str(config)}
    subprocess.run(
        [sys.executable, "-m", "maildir_safe", "sendmail", *options, HERE, REFUSED],
        env=environment, input=MESSAGE, check=True, timeout=120,
    )  # fmt: skip


def relay(base: Path, postfix: Postfix) -> None:
    """Work the queue until it is empty: the message, and a report of ours."""
    options = ["--once", "--hostname", "us.example", "--to", f"smtp://127.0.0.1:{postfix.port}"]
    work = [sys.executable, "-m", "maildir_safe", "work", base / "spool", *options]

    def worked() -> bool:
        subprocess.run(work, check=True, timeout=120)
        with Queue(base / "spool", create=False) as queue:
            return not any(queue.stats().values())

    wait_for("the queue to be empty", worked, 60)


def reports(base: Path, count: int) -> dict[str, tuple[Message, Message, Message]]:
    """By action: the report, its fields about the message, and those about the recipient."""

    def found() -> list[Message]:
        parsed = map(email.message_from_bytes, delivered(base / "boxes/all"))
        return [one for one in parsed if one.get_content_type() == "multipart/report"]

    wait_for("the reports", lambda: len(found()) >= count, 60)
    by_action = {}
    for report in found():
        part = report.get_payload(1)
        assert isinstance(part, Message)
        about, *groups = part.get_payload()
        for group in groups:
            assert isinstance(about, Message)
            assert isinstance(group, Message)
            by_action[str(group["Action"])] = (report, about, group)
    return by_action


@pytest.mark.parametrize("submit", [by_smtp, by_sendmail])
def test_postfix_reports_what_the_sender_asked_for(base: Path, submit: object) -> None:
    with Smarthost() as refusing:
        refusing.reply_to_recipient = "550 5.1.1 no such user"
        submit(base)  # type: ignore[operator]
        with next_hop(base, refusing) as postfix:
            relay(base, postfix)
            found = reports(base, 2)
    assert set(found) == {"delivered", "failed"}
    originals = {"delivered": "rfc822;bob+x@old.example", "failed": "rfc822;gone@old.example"}
    for action, (report, about, group) in found.items():
        assert str(about["Reporting-MTA"]).endswith("mx.example.net")  # Postfix's own
        assert about["Original-Envelope-Id"] == "QQ+314"
        if submit is by_smtp:
            assert group["Original-Recipient"] == originals[action]
        returned = report.get_payload(2)
        assert isinstance(returned, Message)
        assert returned.get_content_type() == "text/rfc822-headers"  # RET=HDRS


@pytest.mark.parametrize("submit", [by_smtp, by_sendmail])
def test_without_dsn_there_we_report_that_it_was_relayed(base: Path, submit: object) -> None:
    with Smarthost() as onward:
        submit(base)  # type: ignore[operator]
        with next_hop(base, onward, "smtpd_discard_ehlo_keywords = dsn") as postfix:
            relay(base, postfix)
            found = reports(base, 1)
    assert set(found) == {"relayed"}
    _, about, group = found["relayed"]
    assert about["Reporting-MTA"] == "dns; us.example"
    assert about["Original-Envelope-Id"] == "QQ+314"
    if submit is by_smtp:
        assert group["Original-Recipient"] in ("rfc822; bob+x@old.example", "rfc822; gone@old.example")
