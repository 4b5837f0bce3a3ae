"""A real Postfix delivers by `maildir-safe deliver`, as docs/howto/mail-servers.md tells it to."""

from __future__ import annotations

import errno
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from pwd import getpwnam

import pytest
from mta import MAIL_USER, Postfix, command, delivered, documented, owned, scratch, wait_for

from maildir_safe.testing.faultmount import FaultMount

pytestmark = pytest.mark.mounts

MESSAGE = b"From: ann@example.com\r\nSubject: one message\r\n\r\nThe body.\r\n"
BOB = "bob@example.org"


@pytest.fixture
def base() -> Iterator[Path]:
    with scratch() as path:
        yield path


def transport(base: Path, vhosts: Path, **replace: str) -> Postfix:
    """A Postfix with the transport of docs/howto/mail-servers.md; `vhosts` holds the Maildirs."""
    main = documented("postfix-main", **{"hash:/etc/postfix/mailboxes": "static:all"})
    replace = {"command": command(base), "vhosts": str(vhosts), "user": MAIL_USER, **replace}
    return Postfix(base, main, documented("postfix-master", **replace))


def test_transport_delivers_once_with_the_envelope_on_top(base: Path) -> None:
    domain = owned(base / "example.org")
    with transport(base, base) as postfix:
        postfix.send("Bob@Example.org", MESSAGE, sender="o'hara@example.com")
        postfix.outcome("sent")
        (message,) = delivered(domain / "bob")
        postfix.emptied()
    top, _, rest = message.partition(b"Received: ")
    assert top == (
        b"Return-Path: <o'hara@example.com>\nX-Original-To: bob@example.org\nDelivered-To: bob@example.org\n"
    )
    assert b"\nSubject: one message\n" in rest
    assert rest.endswith(b"\n\nThe body.\n")


def test_transport_gives_a_bounce_its_null_sender(base: Path) -> None:
    domain = owned(base / "example.org")
    with transport(base, base) as postfix:
        postfix.send(BOB, MESSAGE, sender="")
        postfix.outcome("sent")
        (message,) = delivered(domain / "bob")
    assert message.startswith(b"Return-Path: <>\n")


def test_headers_that_postfix_has_put_on_top_are_neither_repeated_nor_a_loop(base: Path) -> None:
    domain = owned(base / "example.org")
    with transport(base, base, **{"flags=hqu": "flags=DORhqu"}) as postfix:
        postfix.send(BOB, MESSAGE)
        postfix.outcome("sent")
        (message,) = delivered(domain / "bob")
    assert message.count(b"Delivered-To: ") == message.count(b"Return-Path: ") == 1


def test_a_message_that_was_here_before_is_bounced_as_a_loop(base: Path) -> None:
    domain = owned(base / "example.org")
    with transport(base, base) as postfix:
        postfix.send(BOB, b"Delivered-To: bob@example.org\r\n" + MESSAGE)
        line = postfix.outcome("bounced")
        assert "dsn=5.4.6" in line
        assert "mail loop" in line
    assert delivered(domain / "bob") == []


def test_full_disk_defers_and_then_delivers_once(base: Path) -> None:
    domain = base / "example.org"
    domain.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=777", "mta-test", domain], check=True)
    try:
        with transport(base, base) as postfix:
            postfix.send(BOB, MESSAGE)
            postfix.outcome("sent")
            subprocess.run(
                ["dd", "if=/dev/zero", f"of={domain}/filler", "bs=4k"], capture_output=True, check=False
            )
            postfix.send(BOB, MESSAGE + b"x" * 5000)
            assert "dsn=4.3.1" in postfix.outcome("deferred")
            wait_for("the reason", lambda: "No space left on device" in json.dumps(postfix.queue()))
            assert len(delivered(domain / "bob")) == 1
            (domain / "filler").unlink()
            postfix.retry()
            postfix.outcome("sent", 2)
            assert len(delivered(domain / "bob")) == 2
            assert not list((domain / "bob/tmp").iterdir())
            postfix.emptied()
    finally:
        subprocess.run(["umount", domain], check=True)


def test_wrong_option_defers_and_names_it(base: Path) -> None:
    owned(base / "example.org")
    with transport(base, base, **{"-a ${original_recipient}": "--nonsense"}) as postfix:
        postfix.send(BOB, MESSAGE)
        line = postfix.outcome("deferred")
        assert "dsn=4.3.5" in line
        assert "--nonsense" in line
        assert len(postfix.queue()) == 1


def test_forbidden_directory_defers_and_names_who_tried(base: Path) -> None:
    owned(base / "example.org", "root")
    with transport(base, base) as postfix:
        postfix.send(BOB, MESSAGE)
        line = postfix.outcome("deferred")
        assert "dsn=4.2.0" in line
        assert f"{base}/example.org" in line
        assert f"this runs as uid {getpwnam(MAIL_USER).pw_uid}" in line


def test_unclear_outcome_and_postfixs_own_retry_make_one_copy(base: Path) -> None:
    backing = base / "backing"
    backing.mkdir()
    owned(backing / "example.org")
    with FaultMount(backing) as mount, transport(base, mount.path) as postfix:
        mount.path.parent.chmod(mount.path.parent.stat().st_mode | 0o001)
        postfix.send(BOB, MESSAGE)
        postfix.outcome("sent")
        mount.inject("fsyncdir", errno.EIO, name="example.org/bob/new")
        postfix.send(BOB, MESSAGE)
        assert "dsn=4.3.0" in postfix.outcome("deferred")
        assert mount.fired("fsyncdir")
        assert len(delivered(backing / "example.org/bob")) == 2  # it is there; nobody could be sure
        postfix.retry()
        postfix.outcome("sent", 2)
        assert len(delivered(backing / "example.org/bob")) == 2
        postfix.emptied()


def test_mailbox_command_delivers_once_with_the_envelope_on_top(base: Path) -> None:
    home = owned(base / "home")
    text = documented("postfix-mailbox-command", command=command(base), **{"$HOME": str(home)})
    main = f"mydestination = example.org\nlocal_recipient_maps =\nforward_path =\n{text}"
    with Postfix(base, main, "") as postfix:
        postfix.send(f"{MAIL_USER}@example.org", MESSAGE)
        postfix.outcome("sent")
        (message,) = delivered(home / "Maildir")
    assert message.startswith(b"Return-Path: <ann@example.com>\nX-Original-To: mail@example.org\n")
    assert message.count(b"Delivered-To: mail@example.org\n") == 1
    assert not message.startswith(b"From ")
