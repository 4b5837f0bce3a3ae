"""Reports that a sender asks for (RFC 3461): from SMTP and sendmail through the queue to report and relay."""

from __future__ import annotations

import email
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from smtp_support import Wire, serving
from test_queue_smtp import Server
from test_queue_worker import Script, states, work

from maildir_safe import Maildir, Queue
from maildir_safe._delivery.dsn import Dsn, from_xtext, in_ascii, parse, xtext
from maildir_safe._queue.couriers.maildir import MaildirCourier
from maildir_safe._queue.couriers.smtp import SmtpCourier
from maildir_safe._queue.store import envelope
from maildir_safe._queue.store.envelope import Envelope

MESSAGE = b"Subject: hello\n\nbody\n"
A, B = "a@example.org", "b@example.org"


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "spool") as queue:
        yield queue


def reports(courier: Script) -> list[Message]:
    return [email.message_from_bytes(message) for sender, _, message in courier.got if sender == ""]


def fields(report: Message) -> list[Message]:
    """The groups of the part for programs: about the message, then one per recipient."""
    part = report.get_payload(1)
    assert isinstance(part, Message)
    return part.get_payload()  # type: ignore[return-value]


def actions(report: Message) -> dict[str, str]:
    return {str(group["Final-Recipient"]): str(group["Action"]) for group in fields(report)[1:]}


# The envelope

WORDS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x3FF), min_size=1, max_size=30)


@given(
    st.sampled_from(["", "FULL", "HDRS"]),
    WORDS,
    st.sampled_from(["", "NEVER", "SUCCESS", "FAILURE,DELAY"]),
    WORDS,
    st.sampled_from([b"Subject: x\n\n", b"no field\n", b"X-DSN: NOTIFY=NEVER\n\n", b""]),
)
def test_an_envelope_keeps_what_was_asked_for(
    ret: str, ident: str, notify: str, original: str, message: bytes
) -> None:
    dsn = Dsn(ret, xtext(ident), {A: notify}, {B: f"rfc822;{xtext(original)}"})
    file = io.BytesIO(b"".join(envelope.below("s@x", [A, B], message, dsn)))
    found = envelope.read(file, "oo")
    assert found.dsn is not None
    assert found.dsn.lines([A, B]) == dsn.lines([A, B])
    assert (found.sender, found.recipients, file.read()) == ("s@x", (A, B), message)


@pytest.mark.parametrize("message", [b"X-DSN: -\nX-DSN: NOTIFY=NEVER\n\nbody\n", b"Subject: x\n\n"])
def test_an_item_without_these_lines_is_read_as_before(message: bytes) -> None:
    file = io.BytesIO(b"Return-Path: <s@x>\nDelivered-To: a@example.org\n" + message)
    found = envelope.read(file, "o")
    assert (found.dsn, file.read()) == (None, message)


@pytest.mark.parametrize(
    "line",
    ["RET=ALL", "ENVID=a=b", "NOTIFY=NEVER", "ENVID=", "ENVID=\x7f", "RET=FULL RET=FULL", "", "ENVID=a\tb"],
)
def test_a_forged_line_reaches_no_relay(line: str) -> None:
    text = f"Return-Path:   <s@x>\nDelivered-To: {A}\nX-DSN: {line}\nX-DSN: -\nSubject: x\n"
    with pytest.raises(envelope.Unreadable):
        envelope.read(io.BytesIO(text.encode()), "o")


@given(st.text())
def test_xtext_returns(text: str) -> None:
    assert from_xtext(xtext(text)) == " ".join("".join(c if c.isprintable() else " " for c in text).split())
    assert in_ascii(text).isascii()
    assert bool(parse([f"ENVID={xtext(text)}" if text else "-", "-"], [A])) == bool(text)


def test_what_is_reported_unless_the_sender_says_otherwise() -> None:
    plain = Envelope("s@x", (A,), "o")
    assert [plain.wants(A, what) for what in ("SUCCESS", "FAILURE", "DELAY")] == [False, True, True]
    never = Envelope("s@x", (A,), "o", Dsn(notify={A: "NEVER"}))
    assert not any(never.wants(A, what) for what in ("SUCCESS", "FAILURE", "DELAY"))
    assert not Envelope("", (A,), "o", Dsn(notify={A: "SUCCESS"})).wants(A, "SUCCESS")


# The reports


def test_never_makes_no_bounce(queue: Queue) -> None:
    courier = Script(a=[550], b=[550])
    queue.put(MESSAGE, "s@example.org", [A, B], dsn=Dsn(notify={A: "never", B: "failure"}))
    work(queue, courier)
    (report,) = reports(courier)
    assert actions(report) == {f"rfc822; {B}": "failed"}
    assert states(queue) == {"failed": "bb"}


def test_nobody_to_tell_is_the_end(queue: Queue) -> None:
    courier = Script(a=[550])
    queue.put(MESSAGE, "s@example.org", [A], dsn=Dsn(notify={A: "SUCCESS"}))
    work(queue, courier)
    assert reports(courier) == []
    assert states(queue) == {"failed": "b"}


def test_success_is_reported_once_and_the_item_leaves(queue: Queue) -> None:
    courier = Script()
    ident = queue.put(
        MESSAGE,
        "s@example.org",
        [A, B],
        dsn=Dsn("FULL", "QQ+2B1", {A: "SUCCESS"}, {A: "rfc822;Alice+2B1@example.com"}),
    )
    work(queue, courier)
    (report,) = reports(courier)
    assert report["Subject"] == "Successful Mail Delivery Report"
    about, group = fields(report)
    assert about["Original-Envelope-Id"] == "QQ+1"
    assert group["Original-Recipient"] == "rfc822; Alice+1@example.com"
    assert (group["Action"], group["Status"]) == ("delivered", "2.1.1")
    assert ident in report["Message-ID"]
    assert report.get_payload(2).get_content_type() == "text/rfc822-headers"  # FULL is about failures
    assert states(queue) == {}
    work(queue, courier)
    assert len(reports(courier)) == 1


def test_a_report_that_is_refused_for_now_is_tried_again(queue: Queue) -> None:
    courier = Script(s=[451, 451])
    queue.put(MESSAGE, "s@example.org", [A], dsn=Dsn(notify={A: "SUCCESS"}))
    work(queue, courier)
    assert len({report["Message-ID"] for report in reports(courier)}) == 1
    assert [recipients for _, recipients, _ in courier.got] == [(A,), *[("s@example.org",)] * 3]
    assert states(queue) == {}


def test_success_and_failure_at_once_are_one_report(queue: Queue) -> None:
    courier = Script(b=[550])
    queue.put(MESSAGE, "s@example.org", [A, B], dsn=Dsn(notify={A: "SUCCESS", B: "SUCCESS,FAILURE"}))
    work(queue, courier)
    (report,) = reports(courier)
    assert actions(report) == {f"rfc822; {A}": "delivered", f"rfc822; {B}": "failed"}
    assert report["Subject"] == "Undelivered Mail Returned to Sender"
    assert states(queue) == {"failed": "db"}


@pytest.mark.parametrize("body", [b"body\n", "Gr\u00fc\u00dfe\n".encode(), b"\xff\r\xfe\n"])
def test_the_whole_message_is_returned_byte_for_byte(queue: Queue, body: bytes) -> None:
    courier = Script(a=[550])
    queue.put(b"Subject: hello\n\n" + body, "s@example.org", [A], dsn=Dsn("FULL"))
    work(queue, courier)
    raw = courier.got[-1][2]
    part = email.message_from_bytes(raw).get_payload(2)
    assert part.get_content_type() == "message/rfc822"  # type: ignore[union-attr]
    assert b"\n\nSubject: hello\n\n" + body in raw


def test_a_large_message_is_returned_as_its_headers(queue: Queue) -> None:
    courier = Script(a=[550])
    queue.put(b"Subject: hello\n\n" + b"x" * 50_001, "s@example.org", [A], dsn=Dsn("FULL"))
    work(queue, courier)
    assert reports(courier)[0].get_payload(2).get_content_type() == "text/rfc822-headers"  # type: ignore[union-attr]
    assert len(courier.got[-1][2]) < 5000


def test_addresses_beyond_ascii_are_in_the_report_as_rfc_6533_has_them(queue: Queue) -> None:
    who = "j\u00f6rg@b\u00fccher.example"
    courier = Script(jörg=[550])
    queue.put(
        "Subject: Gr\u00fc\u00dfe\n\n".encode(),
        "s\u00e4nder@example.org",
        [who],
        dsn=Dsn(originals={who: "utf-8;j\\x{F6}rg@x"}),
    )
    work(queue, courier)
    raw = courier.got[-1][2]
    assert raw.startswith("To: <s\u00e4nder@example.org>\n".encode())
    report = email.message_from_bytes(raw)
    group = fields(report)[1]
    assert group["Final-Recipient"] == "utf-8; j\\x{F6}rg@b\\x{FC}cher.example"
    assert group["Original-Recipient"] == "utf-8; j\\x{F6}rg@x"
    headers = report.get_payload(2)
    assert isinstance(headers, Message)
    assert headers.get_content_type() == "message/global-headers"
    assert raw.partition(b"\n")[2].isascii()


def test_a_forged_envelope_id_adds_no_field(queue: Queue) -> None:
    courier = Script(a=[550])
    queue.put(MESSAGE, "s@example.org", [A], dsn=Dsn("", "x+0AX-Forged:+20yes", {}, {A: "rfc822;a+0D+0Ab"}))
    work(queue, courier)
    about, group = fields(reports(courier)[0])
    assert about["Original-Envelope-Id"] == "x X-Forged: yes"
    assert group["Original-Recipient"] == "rfc822; a b"


def test_into_a_maildir_success_is_delivered_and_there_once(queue: Queue, tmp_path: Path) -> None:
    box = Maildir(tmp_path / "a", create=True)
    told = Script()
    queue.put(MESSAGE, "s@example.org", [A], dsn=Dsn(notify={A: "SUCCESS"}))
    work(queue, MaildirCourier(lambda _: [str(tmp_path / "a")]), bounces=told)
    assert len(list(box.messages())) == 1
    assert actions(reports(told)[0]) == {f"rfc822; {A}": "delivered"}
    assert states(queue) == {}


# The relay


@pytest.fixture
def relay() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(**replies: str) -> Server:
        made.append(Server(replies, ["250 2.0.0 queued"]))
        return made[-1]

    yield make
    for server in made:
        server.close()


ASKED = Dsn("HDRS", "QQ+2B1", {A: "SUCCESS", B: "NEVER"}, {A: "rfc822;x@example.com"})


def test_a_server_that_offers_dsn_is_told_and_reports_itself(
    queue: Queue, relay: Callable[..., Server]
) -> None:
    server, told = relay(EHLO="250-me\r\n250-DSN\r\n250 8BITMIME"), Script()
    queue.put(MESSAGE, "s@example.org", [A, B], dsn=ASKED)
    work(queue, SmtpCourier(f"smtp://127.0.0.1:{server.port}", helo="us"), bounces=told)
    assert "MAIL FROM:<s@example.org> BODY=8BITMIME RET=HDRS ENVID=QQ+2B1" in server.lines
    assert f"RCPT TO:<{A}> NOTIFY=SUCCESS ORCPT=rfc822;x@example.com" in server.lines
    assert f"RCPT TO:<{B}> NOTIFY=NEVER" in server.lines
    assert (reports(told), states(queue)) == ([], {})


def test_a_server_without_dsn_is_told_nothing_and_relayed_is_reported(
    queue: Queue, relay: Callable[..., Server]
) -> None:
    server, told = relay(), Script()
    queue.put(MESSAGE, "s@example.org", [A, B], dsn=ASKED)
    work(queue, SmtpCourier(f"smtp://127.0.0.1:{server.port}", helo="us"), bounces=told)
    assert {"MAIL FROM:<s@example.org> BODY=8BITMIME", f"RCPT TO:<{A}>", f"RCPT TO:<{B}>"} <= set(
        server.lines
    )
    assert actions(reports(told)[0]) == {f"rfc822; {A}": "relayed"}


def test_a_refusal_by_a_server_that_offers_dsn_is_ours_to_report(
    queue: Queue, relay: Callable[..., Server]
) -> None:
    server, told = relay(EHLO="250-me\r\n250 DSN", RCPT="550 5.1.1 no such user"), Script()
    queue.put(MESSAGE, "s@example.org", [A], dsn=Dsn(notify={A: "FAILURE"}))
    work(queue, SmtpCourier(f"smtp://127.0.0.1:{server.port}", helo="us"), bounces=told)
    assert actions(reports(told)[0]) == {f"rfc822; {A}": "failed"}


# Where it comes from


def asked_in(spool: Path) -> list[str]:
    queue = Queue(spool, create=False)
    (entry,) = queue.items()
    found = queue.envelope(entry)
    assert found is not None
    return found.dsn.lines(found.recipients) if found.dsn else []


@pytest.mark.parametrize(
    ("mail", "rcpt", "lines"),
    [
        (" RET=hdrs ENVID=QQ+2B1", " NOTIFY=success,delay ORCPT=rfc822;x+2By@z",
         ["RET=HDRS ENVID=QQ+2B1", "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+2By@z"]),
        ("", " NOTIFY=NEVER", ["-", "NOTIFY=NEVER"]),
        (" SMTPUTF8", " ORCPT=utf-8;j\u00f6rg@x", ["-", "ORCPT=utf-8;j\\x{F6}rg@x"]),
        (" BODY=8BITMIME", "", []),
    ],
)  # fmt: skip
def test_the_parameters_of_smtp_are_in_the_item(
    tmp_path: Path, mail: str, rcpt: str, lines: list[str]
) -> None:
    with serving(tmp_path, queue=str(tmp_path / "spool")) as server:
        wire = Wire(server.service.smtp_addresses[0])
        assert "DSN" in wire.ask("EHLO client")
        assert wire.ask(f"MAIL FROM:<s@x>{mail}").startswith("250")
        assert wire.ask(f"RCPT TO:<{A}>{rcpt}").startswith("250")
        assert wire.ask("DATA").startswith("354")
        assert wire.ask(b"Subject: x\r\n\r\n.").startswith("250")
    assert asked_in(tmp_path / "spool") == lines


@pytest.mark.parametrize(
    "rcpt", ["NOTIFY=NEVER,SUCCESS", "NOTIFY=", "ORCPT=x", "ORCPT=rfc822;+0Ax", "ORCPT=utf-8;\u200bx"]
)
def test_malformed_parameters_are_501(tmp_path: Path, rcpt: str) -> None:
    with serving(tmp_path, queue=str(tmp_path / "spool")) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO client")
        wire.ask("MAIL FROM:<s@x> SMTPUTF8")
        assert wire.ask(f"RCPT TO:<{A}> {rcpt}").startswith("501")


def sendmail(*words: str) -> subprocess.CompletedProcess[bytes]:
    script = "import sys; from maildir_safe._cli import main; sys.exit(main(['sendmail', *sys.argv[1:]]))"
    return subprocess.run(
        [sys.executable, "-c", script, *words], input=MESSAGE, capture_output=True, check=False
    )


def test_the_options_of_sendmail_are_in_the_item(spool: Path) -> None:
    done = sendmail("-N", "success,delay", "-Rhdrs", "-V", "a+b c", A)
    assert (done.returncode, done.stderr) == (0, b"")
    assert asked_in(spool) == ["RET=HDRS ENVID=a+2Bb+20c", "NOTIFY=SUCCESS,DELAY"]


@pytest.mark.parametrize("words", [["-N", "sometimes"], ["-R", "all"], ["-N", "never,success"]])
def test_wrong_options_of_sendmail_are_wrong_usage(spool: Path, words: list[str]) -> None:
    done = sendmail(*words, A)
    assert done.returncode == 64
    assert len(done.stderr.splitlines()) == 1
    assert list(Queue(spool, create=False).items()) == []
