"""The dialogue over real sockets: what a client is told, and what is then in the Maildir."""

from __future__ import annotations

import asyncio
import json
import smtplib
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from smtp_support import Wire, body, serving, stored, unchanged_for_long, until

from maildir_safe import Maildir, TemporaryError
from maildir_safe._delivery.receipt import Receipt
from maildir_safe.errors import PermanentError, QuotaExceeded

MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"


def test_a_message_from_smtplib(tmp_path: Path) -> None:
    with serving(tmp_path) as server, smtplib.SMTP(server.host, server.port) as client:
        client.ehlo("client.example")
        assert client.esmtp_features["size"] == "26214400"
        assert set(client.esmtp_features) == {
            "pipelining", "size", "chunking", "8bitmime", "binarymime", "smtputf8", "enhancedstatuscodes",
            "auth", "dsn",
        }  # fmt: skip
        assert client.sendmail("a@example.com", ["b@example.com"], MESSAGE) == {}
    (message,) = stored(tmp_path / "M")
    head, _, rest = message.partition(b"Received: ")
    assert head == b"Return-Path: <a@example.com>\nDelivered-To: b@example.com\n"
    assert rest.startswith(
        b"from client.example ([127.0.0.1])\n\tby mx.example with ESMTP\n\tfor <b@example.com>; "
    )
    assert body(message) == b"Subject: hello\n\nworld\n"


def test_the_answer_comes_after_the_receipt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """250 is said when `deliver_async` has returned, and the other sessions go on meanwhile."""
    deliver, released, go_on = Maildir.deliver_async, [], asyncio.Event()

    async def slow(self: Maildir, *args: object, **options: object) -> Receipt:
        await go_on.wait()
        receipt = await deliver(self, *args, **options)  # type: ignore[arg-type]
        released.append(receipt.path)
        return receipt

    monkeypatch.setattr(Maildir, "deliver_async", slow)
    with serving(tmp_path) as server:
        wire, other = Wire(server.service.smtp_addresses[0]), Wire(server.service.smtp_addresses[0])
        wire.ready_for_data()
        wire.send(MESSAGE + b".\r\n")
        assert other.ask("NOOP") == "250 2.0.0 OK"
        assert released == []
        server._loop.call_soon_threadsafe(go_on.set)
        reply = wire.reply()
        assert Path(released[0]).exists()
        assert reply == f"250 2.0.0 Stored as {Path(released[0]).name}"


def failing(error: Exception) -> Callable[..., Awaitable[Receipt]]:
    async def deliver_async(*_: object, **__: object) -> Receipt:
        raise error

    return deliver_async


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (TemporaryError("fsync /secret/path: EIO"), "451 4.3.0 Storage is not available, try again later"),
        (QuotaExceeded("/secret/path"), "452 4.2.2 Mailbox is full, try again later"),
        (PermanentError("/secret/path"), "554 5.6.0 Message refused"),
        (OSError(28, "No space left", "/secret/path"), "451 4.3.0 Internal error, try again later"),
        (RuntimeError("/secret/path"), "451 4.3.0 Internal error, try again later"),
    ],
)
def test_errors_without_local_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reply: str
) -> None:
    with serving(tmp_path) as server:
        monkeypatch.setattr(Maildir, "deliver_async", failing(error))
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data()
        assert wire.ask(MESSAGE + b".") == reply
        assert wire.ask("NOOP") == "250 2.0.0 OK"
        assert "/secret/path" in server.text.getvalue()  # type: ignore[attr-defined]
    assert stored(tmp_path / "M") == []


def test_a_full_disk_is_452(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = TemporaryError("no space")
    full.status = "4.3.1"

    with serving(tmp_path) as server:
        monkeypatch.setattr(Maildir, "deliver_async", failing(full))
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data()
        assert wire.ask(MESSAGE + b".").startswith("452 4.3.1 ")


def test_several_recipients_in_test_mode_are_one_message(tmp_path: Path) -> None:
    with serving(tmp_path) as server, smtplib.SMTP(server.host, server.port) as client:
        client.sendmail("", ["b@example.com", "c@example.com"], MESSAGE)
    (message,) = stored(tmp_path / "M")
    assert message.startswith(
        b"Return-Path: <>\nDelivered-To: b@example.com\nDelivered-To: c@example.com\nReceived: from "
    )
    assert b"for <" not in message


def test_the_order_of_commands(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        wire = Wire(server.service.smtp_addresses[0])
        assert wire.banner == "220 mx.example ESMTP maildir_safe"
        assert wire.ask("MAIL FROM:<a@b>").startswith("503")
        assert wire.ask("HELO client") == "250 mx.example"
        assert wire.ask("RCPT TO:<a@b>").startswith("503 5.5.1")
        assert wire.ask("DATA").startswith("503 5.5.1")
        assert wire.ask("MAIL FROM:<a@b>") == "250 2.1.0 OK"
        assert wire.ask("MAIL FROM:<a@b>").startswith("503 5.5.1")
        assert wire.ask("DATA").startswith("503 5.5.1")
        assert wire.ask("RSET") == "250 2.0.0 OK"
        assert wire.ask("RCPT TO:<a@b>").startswith("503 5.5.1")
        assert wire.ask("VRFY root").startswith("252 2.5.2")
        assert wire.ask("HELP").startswith("214 2.0.0")
        assert wire.ask("EXPN list").startswith("502 5.5.1")
        assert wire.ask("BDAT 0 LAST").startswith("503 5.5.1")
        assert wire.ask("QUIT") == "221 2.0.0 Bye"
        assert wire.reply() == ""


def test_everything_in_one_write_is_answered_in_order(tmp_path: Path) -> None:
    """PIPELINING (RFC 2920), two messages, and a client that closes its side and waits."""
    one = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<\x01>\r\nDATA\r\n" + MESSAGE + b".\r\n"
    with serving(tmp_path) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.send(b"EHLO client\r\n" + one * 2 + b"NOOP\r\nQUIT\r\n")
        wire.sock.shutdown(socket.SHUT_WR)
        codes = []
        while reply := wire.reply():
            codes.append(reply[:3])
    assert codes == ["250", *["250", "250", "553", "354", "250"] * 2, "250", "221"]
    assert len(stored(tmp_path / "M")) == 2


def test_dsn_parameters_and_the_original_recipient(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO client")
        assert wire.ask("MAIL FROM:<a@b> RET=HDRS ENVID=abc+2B1 BODY=8BITMIME SIZE=30").startswith("250")
        assert wire.ask("RCPT TO:<c@d> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;o+2Bx@y").startswith("250")
        assert wire.ask("DATA").startswith("354")
        assert wire.ask(MESSAGE + b".").startswith("250")
    (message,) = stored(tmp_path / "M")
    assert b"\nX-Original-To: o+x@y\n" in message


def test_a_second_try_with_an_envid_is_one_copy(tmp_path: Path) -> None:
    def send(envid: str, text: bytes) -> None:
        assert wire.ask(f"MAIL FROM:<a@b> ENVID={envid}").startswith("250")
        assert wire.ask("RCPT TO:<c@d>").startswith("250")
        assert wire.ask("DATA").startswith("354")
        assert wire.ask(text + b".").startswith("250")

    with serving(tmp_path) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO client")
        send("one", MESSAGE)
        send("one", MESSAGE)
        assert len(stored(tmp_path / "M")) == 1
        send("one", b"Subject: another with the same id\r\n\r\n")
        send("two", MESSAGE)
    assert len(stored(tmp_path / "M")) == 3


def test_smtputf8_and_8bit(tmp_path: Path) -> None:
    with serving(tmp_path) as server, smtplib.SMTP(server.host, server.port) as client:
        client.sendmail("ä@example.com", ["ö@例え.jp"], "Subject: ü\r\n\r\n€\r\n".encode(), ["SMTPUTF8"])
    (message,) = stored(tmp_path / "M")
    assert message.startswith("Return-Path: <ä@example.com>\nDelivered-To: ö@例え.jp\n".encode())
    assert b"with UTF8SMTP\n" in message
    assert body(message) == "Subject: ü\n\n€\n".encode()


def test_lmtp_answers_each_recipient_in_order(tmp_path: Path) -> None:
    for name in ("alice", "bob", "carol"):
        Maildir(tmp_path / name)
    (tmp_path / "bob" / "new").rmdir()
    path = str(tmp_path / "lmtp.sock")
    with serving(tmp_path, map=f"{tmp_path}/{{local}}", smtp=[], lmtp=[path]) as server:
        unchanged_for_long(tmp_path)
        wire = Wire(server.service.lmtp_addresses[0])
        assert wire.banner == "220 mx.example LMTP maildir_safe"
        assert wire.ask("EHLO client").startswith("500 5.5.1")
        assert wire.ask("HELO client").startswith("500")
        assert wire.ask("MAIL FROM:<a@b>").startswith("503")
        assert "DSN" not in wire.ask("LHLO client")
        wire.send(
            b"MAIL FROM:<a@b>\r\nRCPT TO:<carol@x>\r\nRCPT TO:<nobody@x>\r\nRCPT TO:<bob@x>\r\n"
            b"RCPT TO:<Alice+tag@x>\r\nDATA\r\n"
        )
        assert [wire.reply()[:9] for _ in range(6)] == [
            "250 2.1.0", "250 2.1.5", "550 5.1.1", "250 2.1.5", "250 2.1.5", "354 End d",
        ]  # fmt: skip
        wire.send(MESSAGE + b".\r\nNOOP\r\n")
        replies = [wire.reply() for _ in range(4)]
        assert [reply[:9] for reply in replies] == ["250 2.0.0", "451 4.2.0", "250 2.0.0", "250 2.0.0"]
    (carol,), (alice,) = stored(tmp_path / "carol"), stored(tmp_path / "alice")
    assert b"Delivered-To: carol@x\n" in carol
    assert b"alice" not in carol.lower()
    assert b"Delivered-To: Alice+tag@x\n" in alice
    assert b"with LMTP;" in alice


def test_smtp_says_the_worst_of_several_mailboxes(tmp_path: Path) -> None:
    for name in ("alice", "bob"):
        Maildir(tmp_path / name)
    (tmp_path / "bob" / "new").rmdir()
    with serving(tmp_path, map=f"{tmp_path}/{{local}}") as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data("a@b", "alice@x", "bob@x")
        assert wire.ask(MESSAGE + b".").startswith("451 4.2.0")
    assert len(stored(tmp_path / "alice")) == 1


@pytest.mark.parametrize(("parameters", "copies"), [(" ENVID=stable", 1), ("", 2)])
def test_another_try_after_a_partial_failure(tmp_path: Path, parameters: str, copies: int) -> None:
    """With an ENVID those who had the message do not get it twice; without one, they do, as documented."""
    for name in ("alice", "bob"):
        Maildir(tmp_path / name)

    def send() -> str:
        assert wire.ask(f"MAIL FROM:<a@b>{parameters}").startswith("250")
        for name in ("alice", "bob"):
            assert wire.ask(f"RCPT TO:<{name}@x>").startswith("250")
        assert wire.ask("DATA").startswith("354")
        return wire.ask(MESSAGE + b".")[:3]

    with serving(tmp_path, map=f"{tmp_path}/{{local}}") as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO x")
        (tmp_path / "bob" / "new").rename(tmp_path / "bob" / "elsewhere")
        assert send() == "451"
        (tmp_path / "bob" / "elsewhere").rename(tmp_path / "bob" / "new")
        assert send() == "250"
    assert len(stored(tmp_path / "alice")) == copies
    assert len(stored(tmp_path / "bob")) == 1


def test_a_full_mailbox_alone_is_refused(tmp_path: Path) -> None:
    for name in ("alice", "bob"):
        Maildir(tmp_path / name)
    (tmp_path / "bob" / "maildirsize").write_text("10S\n0 0\n")
    with serving(tmp_path, map=f"{tmp_path}/{{local}}", smtp=[], lmtp=[f"{tmp_path}/s"]) as server:
        wire = Wire(server.service.lmtp_addresses[0])
        wire.ask("LHLO x")
        wire.ask("MAIL FROM:<a@b>")
        for name in ("alice", "bob"):
            assert wire.ask(f"RCPT TO:<{name}@x>").startswith("250")
        assert wire.ask("DATA").startswith("354")
        wire.send(MESSAGE + b".\r\n")
        assert [wire.reply()[:9] for _ in range(2)] == ["250 2.0.0", "452 4.2.2"]
    assert len(stored(tmp_path / "alice")) == 1
    assert stored(tmp_path / "bob") == []


def test_a_lost_mount_is_temporary(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    unchanged_for_long(share)
    with serving(tmp_path, map=f"{share}/{{domain}}/{{local}}") as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO x")
        wire.ask("MAIL FROM:<>")
        assert wire.ask("RCPT TO:<bob@example.com>").startswith("450 4.2.1")


def test_a_mailbox_is_missing_for_good_only_where_nothing_has_changed_lately(
    tmp_path: Path,
) -> None:
    """Another host may have made it a moment ago, and this one not see it yet."""
    (tmp_path / "mail").mkdir()
    Maildir(tmp_path / "mail" / "alice")
    where = f"{tmp_path}/mail/{{local}}"
    for longer, reply in ((False, "450 4.2.1"), (True, "550 5.1.1")):
        if longer:
            unchanged_for_long(tmp_path / "mail")
        with serving(tmp_path, map=where) as server:
            wire = Wire(server.service.smtp_addresses[0])
            wire.ask("EHLO x")
            wire.ask("MAIL FROM:<>")
            assert wire.ask("RCPT TO:<alice@example.com>").startswith("250")
            assert wire.ask("RCPT TO:<bob@example.com>").startswith(reply)
            (tmp_path / "mail" / "bob").symlink_to("nowhere")  # listed, and not found by a look-up
            unchanged_for_long(tmp_path / "mail")
            assert wire.ask("RCPT TO:<bob@example.com>").startswith("450 4.2.1")
        (tmp_path / "mail" / "bob").unlink()


def test_starttls_forgets_what_was_said_before(tmp_path: Path) -> None:
    with serving(tmp_path, tls="made") as server:
        context = ssl.create_default_context(cafile=server.service.ca)
        with smtplib.SMTP(server.host, server.port) as client:
            client.ehlo("before.example")
            assert "starttls" in client.esmtp_features
            client.starttls(context=context)
            assert client.mail("a@b")[0] == 503
            client.ehlo("after.example")
            assert "starttls" not in client.esmtp_features
            client.sendmail("a@b", ["c@d"], MESSAGE)
    (message,) = stored(tmp_path / "M")
    assert b"from after.example ([127.0.0.1])\n\tby mx.example with ESMTPS\n" in message


def test_commands_before_the_handshake_are_thrown_away(tmp_path: Path) -> None:
    """What was slipped in behind STARTTLS in clear text is not taken for encrypted (RFC 3207 5)."""
    with serving(tmp_path, tls="made") as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO x")
        wire.send(b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@example.com>\r\n")
        assert wire.reply().startswith("220")
        context = ssl.create_default_context(cafile=server.service.ca)
        with context.wrap_socket(wire.sock, server_hostname="localhost") as tls:
            tls.sendall(b"NOOP\r\nRCPT TO:<a@b>\r\n")
            received = b""
            while received.count(b"\r\n") < 2:
                received += tls.recv(1000)
        assert received.startswith(b"250 2.0.0 OK\r\n503 "), received


def test_a_failed_handshake_leaves_the_server_well(tmp_path: Path) -> None:
    with serving(tmp_path, tls="made", max_connections=1) as server:
        for _ in range(3):
            wire = Wire(server.service.smtp_addresses[0])
            wire.ask("EHLO x")
            assert wire.ask("STARTTLS").startswith("220")
            wire.send(b"this is no handshake\r\n" * 10)
            while wire.sock.recv(1000):
                pass
            wire.close()
            until(lambda: _free(server.service.smtp_addresses[0]))


def _free(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port))) as sock:
        return sock.recv(3) == b"220"


def test_too_many_connections_and_recipients(tmp_path: Path) -> None:
    with serving(tmp_path, max_connections=2, max_recipients=2) as server:
        address = server.service.smtp_addresses[0]
        first, second = Wire(address), Wire(address)
        third = Wire(address, greeting="421 4.7.0")
        assert third.reply() == ""
        first.close()
        until(lambda: _free(address))
        second.ask("EHLO x")
        second.ask("MAIL FROM:<a@b>")
        codes = [second.ask(f"RCPT TO:<{n}@b>")[:9] for n in range(4)]
        assert codes == ["250 2.1.5", "250 2.1.5", "452 4.5.3", "452 4.5.3"]


def test_sizes(tmp_path: Path) -> None:
    with serving(tmp_path, max_size=1000) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data()
        assert wire.ask(b"x" * 1_000_000 + b"\r\n.").startswith("552 5.3.4")
        assert wire.ask("MAIL FROM:<a@b> SIZE=1001").startswith("552 5.3.4")
        wire.ready_for_data()
        assert wire.ask(b"x" * 900 + b"\r\n.").startswith("250")
        assert len(stored(tmp_path / "M")) == 1


def test_bytes_in_flight_are_bounded(tmp_path: Path) -> None:
    with serving(tmp_path, max_in_flight=300_000) as server:
        first, second = (Wire(server.service.smtp_addresses[0]) for _ in range(2))
        first.ready_for_data()
        first.send(b"x" * 299_000)
        second.ready_for_data()
        until(lambda: server.service.budget.in_flight > 60_000)
        assert second.ask(b"x" * 299_000 + b"\r\n.").startswith("452 4.3.1")
        assert first.ask(b"\r\n.").startswith("250")
        second.ready_for_data()
        assert second.ask(b"x" * 299_000 + b"\r\n.").startswith("250")


def test_a_silent_client_is_told_and_cut_off(tmp_path: Path) -> None:
    with serving(tmp_path, timeout=0.3) as server:
        wire = Wire(server.service.smtp_addresses[0])
        assert wire.reply().startswith("421 4.4.2")
        assert wire.reply() == ""


def test_a_hang_up_in_the_middle_stores_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, max_connections=1) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data()
        wire.send(b"Subject: half\r\n\r\n" + b"x" * 200_000)
        wire.close()
        until(lambda: _free(server.service.smtp_addresses[0]))
        assert server.service.budget.in_flight == 0
    assert stored(tmp_path / "M") == []


def test_stopping_finishes_what_is_being_received(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        idle, busy = (Wire(server.service.smtp_addresses[0]) for _ in range(2))
        busy.ready_for_data()
        busy.send(b"Subject: half\r\n")
        server._loop.call_soon_threadsafe(server._stop.set)
        assert idle.reply().startswith("421 4.3.2")
        assert busy.ask(b"\r\nwhole\r\n.").startswith("250")
        assert busy.reply().startswith("421 4.3.2")
    (message,) = stored(tmp_path / "M")
    assert body(message) == b"Subject: half\n\nwhole\n"


def test_the_log_has_a_line_for_each_message(tmp_path: Path) -> None:
    with serving(tmp_path) as server, smtplib.SMTP(server.host, server.port) as client:
        client.sendmail("a@b", ["c@d", "e@f"], MESSAGE)
        assert client.docmd("MAIL FROM:<\x1b[31m>")[0] == 553
        lines = server.text.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.split()[1:3] for line in lines] == [["smtp", "stored"], ["smtp", "refused"]]
    assert 'sender="a@b" recipients=["c@d", "e@f"]' in lines[0]
    assert 'durability=["' in lines[0]
    assert all(character.isprintable() for line in lines for character in line)


def test_json_log(tmp_path: Path) -> None:
    with serving(tmp_path, log_json=True) as server, smtplib.SMTP(server.host, server.port) as client:
        client.sendmail("a@b", ["c@d"], MESSAGE)
        entry = json.loads(server.text.getvalue())  # type: ignore[attr-defined]
    assert entry["event"] == "stored"
    assert entry["recipients"] == ["c@d"]
    assert Path(entry["stored"][0]).exists()
