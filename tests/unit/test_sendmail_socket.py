"""`sendmail` and `qmail-queue` through the local socket of a server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from smtp_support import serving, unchanged_for_long
from test_cli_sendmail import SCRIPT, sendmail

from maildir_safe import Queue
from tests.spool_support import queued

QMAIL = "import sys; from maildir_safe._cli import main; sys.exit(main(['qmail-queue']))"


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the configuration file, which names the socket `s` in it."""
    config = tmp_path / "sendmail.toml"
    config.write_text(f'submit = "{tmp_path}/s"\ndomain = "here.example"\n')
    monkeypatch.setenv("MAILDIR_SAFE_SENDMAIL_CONFIG", str(config))
    return tmp_path


@pytest.mark.parametrize(
    "text",
    [b"To: c@d\nSubject: x\n\n.dot\n..\n\nlast", "To: c@d\n\nGr\u00fc\u00dfe\r\n".encode(), b"To: c@d\n\n\n"],
)
def test_what_the_server_acknowledged_is_in_its_queue(box: Path, text: bytes) -> None:
    with serving(box, queue=f"{box}/spool", smtp=[], lmtp=[f"{box}/s"]):
        done = sendmail("-f", "ann", "-t", "-i", "-N", "never", stdin=text)
    assert (done.returncode, done.stderr) == (0, b"")
    ((sender, recipients, message),) = queued(box / "spool")
    assert (sender, recipients) == ("ann@here.example", ("c@d",))
    body = text.replace(b"\r\n", b"\n").partition(b"\n\n")[2]
    assert message.partition(b"\n\n")[2] == body + b"\n" * (not body.endswith(b"\n"))
    assert b"\n\tby " not in message.partition(b"(maildir-safe sendmail, from uid ")[2]
    queue = Queue(box / "spool", create=False)
    (entry,) = queue.items()
    found = queue.envelope(entry)
    assert found is not None
    assert not found.wants("c@d", "FAILURE")


def test_many_recipients_and_utf8(box: Path) -> None:
    many = [f"u{n}@x.example" for n in range(120)]
    with serving(box, queue=f"{box}/spool", smtp=[], lmtp=[f"{box}/s"]):
        done = sendmail("j\u00f6rg@x", *many, stdin=b"Subject: x\n\n")
    assert (done.returncode, done.stderr) == (0, b"")
    reached = [who for _, recipients, _ in queued(box / "spool") for who in recipients]
    assert sorted(reached) == sorted(["j\u00f6rg@x", *many])


def test_qmail_queue(box: Path) -> None:
    (box / "envelope").write_bytes(b"Fs@x\0Tc@d\0\0")
    with (
        serving(box, queue=f"{box}/spool", smtp=[], lmtp=[f"{box}/s"]),
        (box / "envelope").open("rb") as file,
    ):
        done = subprocess.run(
            [sys.executable, "-c", QMAIL],
            input=b"Subject: x\n\n",
            stdout=file,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"")
    assert [item[:2] for item in queued(box / "spool")] == [("s@x", ("c@d",))]


def test_an_address_that_the_server_refuses_is_65_and_nobody_gets_it(box: Path) -> None:
    (box / "known").mkdir()
    for name in ("tmp", "new", "cur"):
        (box / "known" / name).mkdir()
    with serving(box, queue=f"{box}/spool", map=f"{box}/{{local}}", smtp=[], lmtp=[f"{box}/s"]):
        unchanged_for_long(box)
        done = sendmail("known@x", "unknown@x")
    assert done.returncode == 65
    assert b"550" in done.stderr
    assert queued(box / "spool") == []


@pytest.mark.usefixtures("box")
def test_without_a_server_it_is_75_and_without_a_spool_78() -> None:
    for words, code in ((["c@d"], 75), (["-bp"], 78), (["-bs"], 78)):
        done = sendmail(*words)
        assert done.returncode == code, done
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(os.getuid() != 0, reason="needs two users")
def test_a_user_who_may_not_connect_is_77(box: Path) -> None:
    with serving(box, queue=f"{box}/spool", smtp=[], lmtp=[f"{box}/s"], lmtp_mode="0600"):
        for above in (box, *box.parents):
            above.chmod(above.stat().st_mode | 0o055)
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT.format("sendmail"), "c@d"], input=b"x\n", capture_output=True,
            check=False, user=65534, group=65534, extra_groups=[],
        )  # fmt: skip
    assert done.returncode == 77, done.stderr
    assert queued(box / "spool") == []


# A server that misbehaves


@pytest.fixture
def server(box: Path) -> Iterator[Callable[[dict[str, str]], None]]:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(f"{box}/s")
    sock.listen()

    def start(replies: dict[str, str]) -> None:
        def serve() -> None:
            connection, _ = sock.accept()
            with connection, connection.makefile("rwb", buffering=0) as stream:
                stream.write(f"{replies.get('hello', '220 x')}\r\n".encode())
                in_data = False
                for raw in stream:
                    line = raw.strip().decode().upper()
                    if in_data and line != ".":
                        continue
                    in_data = line == "DATA" and "DATA" not in replies
                    reply = next(
                        (text for key, text in replies.items() if line.startswith(key)),
                        "354 go" if in_data else "221 bye" if line == "QUIT" else "250 ok",
                    )
                    if reply == "hang up":
                        return
                    stream.write(f"{reply}\r\n".encode())

        threading.Thread(target=serve, daemon=True).start()

    yield start
    sock.close()


@pytest.mark.parametrize(
    ("replies", "code", "reason"),
    [
        ({"hello": "421 4.3.2 down"}, 75, "421 4.3.2 down"),
        ({"hello": "garbage"}, 75, "does not speak LMTP"),
        ({"MAIL": "451 later"}, 75, "451 later"),
        ({"RCPT TO:<B": "550 5.1.1 no\x1b[2J"}, 65, "550 5.1.1 no [2J"),
        ({"DATA": "250 what"}, 75, "250 what"),
        ({".": "250 ok\r\n451 no"}, 75, "451 no; it is queued for a part of the recipients"),
        ({".": "552 too big\r\n552 too big"}, 65, "552 too big"),
        ({".": "hang up"}, 75, "the message may be queued"),
        ({".": "250 ok"}, 0, ""),
    ],
)
def test_what_a_server_says(
    server: Callable[[dict[str, str]], None], replies: dict[str, str], code: int, reason: str
) -> None:
    recipients = ["a@x", "b@x"] if code or reason else ["a@x"]
    server(replies)
    done = sendmail(*recipients)
    assert done.returncode == code, done
    assert reason in done.stderr.decode()
    assert len(done.stderr.splitlines()) == bool(code)
    assert b"\x1b" not in done.stderr


@pytest.mark.parametrize(
    "replies",
    [
        {".": "250 a\r\n250 a\r\n452 b"},
        {"MAIL": "250 ok\r\n550 5.1.1 late"},
        {"RCPT TO:<A": "250 ok\r\n550 5.1.1 late"},
        {"RCPT TO:<B": "550 5.1.1 no\r\n250 ok"},
        {"LHLO": "250 ok\r\n250 ok"},
    ],
)
def test_a_reply_too_many_is_neither_success_nor_refusal(
    server: Callable[[dict[str, str]], None], replies: dict[str, str]
) -> None:
    """The second answer about one recipient was taken for the next one's, who had not got the message."""
    server(replies)
    done = sendmail("a@x", "b@x")
    assert done.returncode == 75, done
    assert b"a surplus reply" in done.stderr


def test_a_signal_while_the_server_stores_waits_for_the_outcome(
    box: Path,
) -> None:
    released = threading.Event()
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(f"{box}/s")
    sock.listen()
    complete = threading.Event()

    def serve() -> None:
        connection, _ = sock.accept()
        with connection, connection.makefile("rwb", buffering=0) as stream:
            stream.write(b"220 x\r\n")
            for raw in stream:
                if raw == b".\r\n":
                    complete.set()
                    released.wait(60)
                    stream.write(b"250 ok\r\n")
                elif raw == b"DATA\r\n":
                    stream.write(b"354 go\r\n")
                elif raw[:4] in (b"LHLO", b"MAIL", b"RCPT"):
                    stream.write(b"250 ok\r\n")
                elif raw == b"QUIT\r\n":
                    stream.write(b"221 bye\r\n")

    threading.Thread(target=serve, daemon=True).start()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format("sendmail"), "c@d"],
        stdin=subprocess.PIPE,
    )
    assert process.stdin
    process.stdin.write(b"Subject: x\n\n")
    process.stdin.close()
    assert complete.wait(60)
    process.send_signal(signal.SIGTERM)
    released.set()
    assert process.wait(60) == 0
    sock.close()
