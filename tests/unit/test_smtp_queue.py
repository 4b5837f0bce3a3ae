"""`serve --queue`: what is answered with 250 is an item in the spool, and nobody relays unasked."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import smtplib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from smtp_support import Serve, Wire, serving, unchanged_for_long, until

from benchmarks.smtp_client import Load, send, wire_form
from maildir_safe import Maildir, Queue
from maildir_safe._cli import main
from maildir_safe._delivery.job import DeliveryJob
from maildir_safe._delivery.receipt import receipt_of
from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._health.trial import MARK
from maildir_safe._queue.store.writer import SpoolWriter
from maildir_safe._smtp.backends.queue_store import MAX_HOPS, QueueStore
from maildir_safe._smtp.backends.store import MailObject, Recipient
from maildir_safe._smtp.faults.faults import Fault, Faults
from maildir_safe._smtp.faults.faulty_fs import FaultyFileSystem
from maildir_safe._smtp.protocol.auth import hash_password
from maildir_safe._smtp.server.background import BackgroundServer

MESSAGE = b"Subject: hello\r\n\r\n.world\r\n"


def items(spool: Path) -> dict[str, tuple[str, ...]]:
    """The recipients of each item, by its id."""
    queue = Queue(spool, create=False)
    found = {}
    for listed in queue.items("pending"):
        envelope = queue.envelope(listed)
        assert envelope
        found[listed.item.id] = envelope.recipients
    return found


def claimed(spool: Path) -> list[bytes]:
    """The messages of all items, which are removed."""
    messages = []
    with Queue(spool, create=False) as queue:
        for claim in queue.claim(10_000):
            messages.append(claim.read())
            claim.ack()
    return messages


def numbers(messages: list[bytes]) -> list[int]:
    """Their subjects."""
    return [int(message.partition(b"\nSubject: ")[2].split()[0]) for message in messages]


def send_mail(server: BackgroundServer, recipients: list[str]) -> dict[str, tuple[int, bytes]]:
    """What was refused."""
    with smtplib.SMTP(server.host, server.port) as client:
        return client.sendmail("a@b", recipients, MESSAGE)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def test_the_reply_names_the_item_and_the_item_has_envelope_and_message(tmp_path: Path, spool: Path) -> None:
    with serving(tmp_path, queue=str(spool)) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data("ann@example.com", "bob@example.org")
        reply = wire.ask(b"Subject: hello\r\n\r\n..world\r\n.")
        log = server.text.getvalue()  # type: ignore[attr-defined]
    ((ident, recipients),) = items(spool).items()
    assert reply == f"250 2.0.0 Queued as {ident}"
    assert f'stored=["{ident}"]' in log
    assert recipients == ("bob@example.org",)
    with Queue(spool) as queue:
        (claim,) = queue.claim()
        assert claim.envelope.sender == "ann@example.com"
        received, _, rest = claim.read().partition(b" +0000\n")
        assert received.startswith(b"Received: from client.example ([127.0.0.1])\n\tby mx.example with ESMTP")
        assert rest == b"Subject: hello\n\n.world\n"


def test_lmtp_answers_for_each_recipient_with_its_item_one_a_domain(tmp_path: Path, spool: Path) -> None:
    path = str(tmp_path / "l.sock")
    with serving(tmp_path, queue=str(spool), lmtp=[path]):
        wire = Wire(path)
        wire.ask("LHLO x")
        wire.ask("MAIL FROM:<>")
        for recipient in ("a@one", "b@two", "c@ONE", "a@one"):
            assert wire.ask(f"RCPT TO:<{recipient}>").startswith("250")
        wire.ask("DATA")
        replies = [wire.ask(MESSAGE + b"."), wire.reply(), wire.reply(), wire.reply()]
    idents = [reply.removeprefix("250 2.0.0 Queued as ") for reply in replies]
    assert idents[0] == idents[2] == idents[3]
    assert items(spool) == {idents[0]: ("a@one", "c@ONE"), idents[1]: ("b@two",)}


def test_with_a_map_only_mailboxes_are_taken_and_each_has_an_item(tmp_path: Path, spool: Path) -> None:
    for name in ("bob", "cy"):
        Maildir(tmp_path / name)
    to = ["bob@one", "bob+tag@one", "eve@one", "cy@one", "cy@one"]
    with serving(tmp_path, queue=str(spool), map=f"{tmp_path}/{{local}}") as server:
        unchanged_for_long(tmp_path)
        refused = send_mail(server, to)
    assert refused == {"eve@one": (550, b"5.1.1 No such mailbox here")}
    assert sorted(items(spool).values()) == [("bob+tag@one",), ("bob@one",), ("cy@one",)]
    assert not list((tmp_path / "bob" / "new").iterdir())


@pytest.mark.parametrize(
    ("call", "error", "reply"),
    [
        ("create", "ENOSPC", "452 4.3.1 Insufficient system storage, try again later"),
        ("write", "EDQUOT", "452 4.3.1 Insufficient system storage, try again later"),
        ("fsync", "EIO", "451 4.3.0 Storage is not available, try again later"),
    ],
)
@pytest.mark.parametrize("recipients", [("a@one",), ("a@one", "b@two")])
def test_a_fault_of_the_storage_is_temporary_and_leaves_nothing(
    tmp_path: Path, spool: Path, call: str, error: str, reply: str, recipients: tuple[str, ...]
) -> None:
    faults = Faults()
    with serving(tmp_path, faults, queue=str(spool)) as server:
        faults.add(call=call, error=error)
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data("ann@example.com", *recipients)
        assert wire.ask(MESSAGE + b".") == reply
        assert items(spool) == {}
        left = [path.name for path in (spool / "tmp").iterdir() if not path.name.endswith(f".{MARK}")]
        assert left == []  # but for what the storage check tries at any time
        faults.clear()
        wire.ready_for_data("ann@example.com", *recipients)
        assert wire.ask(MESSAGE + b".").startswith("250 2.0.0 Queued as ")
    assert len(claimed(spool)) == len(recipients)


def test_the_answer_waits_for_the_put(tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put, may_go_on, returned = SpoolWriter.put_many, threading.Event(), []

    def held_up(self: SpoolWriter, jobs: list[DeliveryJob], *_: str) -> None:
        assert may_go_on.wait(10)
        put(self, jobs)
        returned.append(receipt_of(jobs[0]).key.partition(",")[0])

    monkeypatch.setattr(SpoolWriter, "put_many", held_up)
    with serving(tmp_path, queue=str(spool)) as server:
        wire, other = Wire(server.service.smtp_addresses[0]), Wire(server.service.smtp_addresses[0])
        wire.ready_for_data()
        wire.send(MESSAGE + b".\r\n")
        assert other.ask("NOOP") == "250 2.0.0 OK"
        assert returned == []
        may_go_on.set()
        assert wire.reply() == f"250 2.0.0 Queued as {returned[0]}"


def test_concurrent_messages_share_fsyncs(spool: Path) -> None:
    faults = Faults([Fault(call="fsync", delay=0.05)])  # as on a slow disk

    async def store_all() -> list[list[RecipientStatus]]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(64))  # as many as `serve` has
        store = QueueStore(Queue(spool, fs=FaultyFileSystem(faults)), None)
        mail = MailObject("a@b", [Recipient("c@d", "")], b"Received: today\n", [b"Subject: s\n\nx\n"])
        return await asyncio.gather(*(store.store(mail) for _ in range(64)))

    results = asyncio.run(store_all())
    assert all(result.reply == f"250 2.0.0 Queued as {result.stored}" for (result,) in results)
    assert items(spool).keys() == {result.stored for (result,) in results}
    assert faults.fired["fsync"] < 96, "each file and its directory by themselves make 128"


def test_a_message_that_goes_round_in_a_loop_is_refused(tmp_path: Path, spool: Path) -> None:
    with serving(tmp_path, queue=str(spool)) as server:
        wire = Wire(server.service.smtp_addresses[0])
        for count, reply in ((MAX_HOPS, "554 5.4.6"), (MAX_HOPS - 1, "250 2.0.0")):
            wire.ready_for_data()
            header = b"received: from x\r\n\tby y; today\r\n" * count
            assert wire.ask(
                header + b"Subject: s\r\n\r\n" + b"Received: no header\r\n" * 9 + b"."
            ).startswith(reply)
    assert len(items(spool)) == 1


def test_processes_share_a_spool_and_the_banner_names_it(tmp_path: Path, spool: Path) -> None:
    serve = Serve(tmp_path, "--queue", "spool", "--workers", "2")
    assert serve.told("Spool") == str(spool)
    assert [line.split()[0] for line in serve.banner.splitlines()] == ["SMTP", "Spool", "Try"]
    messages = [wire_form(b"Subject: %d\n\nx\n" % number) for number in range(200)]
    assert len(send(serve.address, False, messages, 16).acknowledged) == 200
    code, log = serve.end()
    assert code == 0
    assert log.count(" stored ") == 200
    assert not (tmp_path / "Maildir").exists()
    assert sorted(numbers(claimed(spool))) == list(range(200))


def test_kill_9_loses_nothing_that_was_answered(tmp_path: Path, spool: Path) -> None:
    """Under load of 16 connections; the client keeps the ledger, and sends nothing twice."""
    serve, ledger = Serve(tmp_path, "--queue", "spool"), Load()
    messages = [wire_form(b"Subject: %d\n\nx\n" % number) for number in range(5000)]

    def load() -> None:
        with contextlib.suppress(OSError):  # the server is killed
            send(serve.address, False, messages, 16, ledger)

    client = threading.Thread(target=load)
    client.start()
    until(lambda: len(ledger.acknowledged) >= 100)
    serve.end(signal.SIGKILL)
    client.join(60)
    assert not client.is_alive()
    assert ledger.refused == []
    assert len(ledger.acknowledged) < 5000, "it was to be killed while mail came in"
    stored = numbers(claimed(spool))
    assert set(ledger.acknowledged) - set(stored) == set()
    assert len(stored) == len(set(stored)) <= len(ledger.acknowledged) + 16


@pytest.mark.parametrize("flag", ["--smtp", "--lmtp"])
def test_no_open_relay_beyond_this_machine(
    tmp_path: Path, spool: Path, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["serve", "--queue", str(spool), flag, "0.0.0.0:0"]
    assert main(command) == 1
    assert "an open relay: beyond this machine --queue needs --auth" in capsys.readouterr().err
    (tmp_path / "passwords").write_text(f"ann:{hash_password('s3cret')}\n")
    assert main([*command, "--auth", str(tmp_path / "passwords")]) == 1
    assert "--auth needs --tls" in capsys.readouterr().err


def test_with_passwords_it_relays_for_those_who_know_one(tmp_path: Path, spool: Path) -> None:
    (tmp_path / "passwords").write_text(f"ann:{hash_password('s3cret')}\n")
    settings: dict[str, Any] = {"auth": str(tmp_path / "passwords"), "tls": "made", "smtp": ["0.0.0.0:0"]}
    with serving(tmp_path, queue=str(spool), **settings) as server:
        client = smtplib.SMTP("127.0.0.1", server.port)
        client.ehlo()
        assert client.mail("a@b")[0] == 530
        client.starttls()
        client.login("ann", "s3cret")
        client.sendmail("a@b", ["c@d"], MESSAGE)
        client.quit()
    assert list(items(spool).values()) == [("c@d",)]


@pytest.mark.parametrize(
    "flags", [["--web", "127.0.0.1:0"], ["--keep", "5"], ["--postmaster", "a@b"], ["Maildir"]]
)
def test_what_belongs_to_a_maildir_is_refused(
    spool: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--queue", str(spool), "--smtp", "127.0.0.1:0", *flags]) == 1
    assert capsys.readouterr().err.startswith("maildir-safe serve: ")


def test_a_place_that_is_no_spool_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Maildir(tmp_path / "M").deliver(b"x")
    for path in (tmp_path / "M", tmp_path / "missing" / "spool"):
        assert main(["serve", "--queue", str(path), "--smtp", "127.0.0.1:0"]) == 1
        assert str(path) in capsys.readouterr().err


def test_a_spool_whose_bucket_was_removed_gets_another(tmp_path: Path, spool: Path) -> None:
    """Workers remove buckets that are empty and old; the next message makes a new one."""
    with serving(tmp_path, queue=str(spool)) as server:
        send_mail(server, ["c@d"])
        assert len(claimed(spool)) == 1
        for bucket in (spool / "pending").iterdir():
            bucket.rmdir()
        send_mail(server, ["c@d"])
    assert len(items(spool)) == 1


@pytest.mark.parametrize(("parameters", "count"), [(" ENVID=stable", 2), ("", 4)])
@pytest.mark.parametrize("lmtp", [False, True], ids=["SMTP", "LMTP"])
@pytest.mark.parametrize("mapped", [False, True], ids=["", "map"])
def test_a_second_try_with_an_envid_is_recognised(
    tmp_path: Path, spool: Path, parameters: str, count: int, lmtp: bool, mapped: bool
) -> None:
    """Also when the first one's items were delivered meanwhile; it caught 1,918 doubles in one run."""
    where: dict[str, Any] = {"lmtp": [str(tmp_path / "l.sock")]} if lmtp else {}
    if mapped:
        where["map"] = f"{tmp_path}/boxes/{{local}}"
        (tmp_path / "boxes").mkdir()
        for name in ("ann", "bob"):
            Maildir(tmp_path / "boxes" / name)
    with serving(tmp_path, queue=str(spool), **where) as server:
        wire = Wire(where["lmtp"][0] if lmtp else server.service.smtp_addresses[0])
        wire.ask("LHLO x" if lmtp else "EHLO x")

        def put() -> None:
            assert wire.ask(f"MAIL FROM:<a@b>{parameters}").startswith("250")
            for address in ("ann@example.com", "bob@example.org"):
                assert wire.ask(f"RCPT TO:<{address}>").startswith("250")
            assert wire.ask("DATA").startswith("354")
            replies = [wire.ask(MESSAGE + b"."), *([wire.reply()] if lmtp else [])]
            assert [reply[:3] for reply in replies] == ["250"] * len(replies)

        put()
        taken = claimed(spool)
        put()
    assert len(taken + claimed(spool)) == count


@pytest.mark.parametrize("name", ["store", "_result"])
def test_an_unforeseen_exception_is_451_without_its_words(
    tmp_path: Path, spool: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise LookupError("/secret/path")

    with serving(tmp_path, queue=str(spool)) as server:
        wire = Wire(server.service.smtp_addresses[0])
        monkeypatch.setattr(QueueStore, name, fail)
        wire.ready_for_data()
        assert wire.ask(MESSAGE + b".") == "451 4.3.0 Internal error, try again later"
        monkeypatch.undo()
        assert "/secret/path" in server.text.getvalue()  # type: ignore[attr-defined]


def test_an_unforeseen_exception_of_a_put_is_451_without_its_words(
    tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise LookupError("/secret/path")

    with serving(tmp_path, queue=str(spool)) as server:
        monkeypatch.setattr(Queue, "put_async", fail)
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data("a@b", "c@one", "d@two")
        assert wire.ask(MESSAGE + b".") == "451 4.3.0 Internal error, try again later"
        assert "/secret/path" in server.text.getvalue()  # type: ignore[attr-defined]
    assert items(spool) == {}


@pytest.mark.parametrize("envid", ["", " ENVID=one"])
def test_a_second_try_with_an_envid_is_one_item(tmp_path: Path, spool: Path, envid: str) -> None:
    """One domain's item failed and the client sends to both again: the other domain has it once."""
    faults = Faults()
    with serving(tmp_path, faults, queue=str(spool)) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO x")

        def send(text: bytes = MESSAGE) -> str:
            assert wire.ask(f"MAIL FROM:<a@b>{envid}").startswith("250")
            for recipient in ("c@one", "d@two"):
                assert wire.ask(f"RCPT TO:<{recipient}>").startswith("250")
            assert wire.ask("DATA").startswith("354")
            return wire.ask(text + b".")[:3]

        faults.add(stage="stored", reply="451 4.3.0 Lost", times=1)
        assert [send(), send()] == ["451", "250"]
        assert len(items(spool)) == (2 if envid else 4)
        assert send(b"Subject: another with the same id\r\n\r\n") == "250"
        assert len(items(spool)) == (4 if envid else 6)
