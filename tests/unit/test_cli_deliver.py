"""`maildir-safe deliver` as a process: what a mail server sees of it."""

from __future__ import annotations

import ast
import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

MESSAGE = b"From: ann@example.com\nSubject: one\n\nThe body.\n"
ENVELOPE = ("SENDER", "RECIPIENT", "ORIGINAL_RECIPIENT", "LOCAL", "DOMAIN", "EXTENSION")
COMMAND = [sys.executable, "-c", "import sys; from maildir_safe._cli import main; sys.exit(main())"]

Done = subprocess.CompletedProcess[bytes]


def environment(**variables: str) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if name not in ENVELOPE}, **variables}


def maildir_safe(*words: str | Path, stdin: bytes = MESSAGE, **variables: str) -> Done:
    return subprocess.run(
        [*COMMAND, *words], input=stdin, env=environment(**variables), capture_output=True, check=False
    )


def messages(maildir: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted((maildir / "new").iterdir())]


def refused(done: Done, code: int, status: str) -> str:
    """The one line that says why, after checking that there is nothing else."""
    assert done.returncode == code, done
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(status + " ")
    assert "Traceback" not in line
    return line


@pytest.fixture
def box(tmp_path: Path) -> Path:
    return tmp_path / "Maildir"


# what is delivered


def test_silent_success(box: Path) -> None:
    done = maildir_safe("deliver", box)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert messages(box) == [MESSAGE]


def test_options_come_on_top(box: Path) -> None:
    maildir_safe("deliver", "-f", "a@b", "-d", "c@d", "-a", "e@f", box, SENDER="x", RECIPIENT="y")
    top = b"Return-Path: <a@b>\nX-Original-To: e@f\nDelivered-To: c@d\n"
    assert messages(box) == [top + MESSAGE]


@pytest.mark.parametrize(
    ("variables", "top"),
    [
        ({"SENDER": "a@b", "RECIPIENT": "c@d"}, b"Return-Path: <a@b>\nDelivered-To: c@d\n"),
        ({"SENDER": "", "RECIPIENT": "c@d"}, b"Return-Path: <>\nDelivered-To: c@d\n"),
        ({"RECIPIENT": "c@d", "ORIGINAL_RECIPIENT": "e@f"}, b"X-Original-To: e@f\nDelivered-To: c@d\n"),
    ],
)
def test_environment_speaks_where_options_do_not(box: Path, variables: dict[str, str], top: bytes) -> None:
    assert maildir_safe("deliver", box, **variables).returncode == 0
    assert messages(box) == [top + MESSAGE]


def test_environment_of_qmail_local(box: Path) -> None:
    qmail = {
        "SENDER": "a@b",
        "NEWSENDER": "a@b",
        "RECIPIENT": "c-x@d",
        "LOCAL": "c-x",
        "USER": "c",
        "HOST": "d",
        "EXT": "x",
        "DTLINE": "Delivered-To: c-x@d\nX-Evil: 1\n",
        "RPLINE": "Return-Path: <a@b>\n",
    }
    maildir_safe("deliver", f"{box}/", **qmail)
    assert messages(box) == [b"Return-Path: <a@b>\nDelivered-To: c-x@d\n" + MESSAGE]


def test_a_recipient_that_is_set_and_empty_is_none(box: Path) -> None:
    """Some mail servers set all variables, whether there is anything to say or not."""
    maildir_safe("deliver", box, SENDER="a@b", RECIPIENT="", ORIGINAL_RECIPIENT="")
    maildir_safe("deliver", "-d", "", "-a", "", box, stdin=b"Received: x\nDelivered-To:\n" + MESSAGE)
    assert sorted(messages(box)) == sorted(
        [b"Return-Path: <a@b>\n" + MESSAGE, b"Received: x\nDelivered-To:\n" + MESSAGE]
    )


def test_angle_brackets_around_an_address_are_dropped(box: Path) -> None:
    maildir_safe("deliver", "-f", "<a@b>", "-d", "<c@d>", box)
    assert messages(box) == [b"Return-Path: <a@b>\nDelivered-To: c@d\n" + MESSAGE]


def test_prelines_own_headers_are_not_repeated(box: Path) -> None:
    preline = b"From a@b Mon Nov 23 00:00:00 2026\nReturn-Path: <a@b>\nDelivered-To: c@d\n"
    received = b"Received: (qmail 1 invoked by uid 2)\n" + MESSAGE
    maildir_safe("deliver", box, stdin=preline + received, SENDER="a@b", RECIPIENT="c@d")
    assert messages(box) == [b"Return-Path: <a@b>\nDelivered-To: c@d\n" + received]


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (b"A: 1\r\n\r\ntext\r\n", b"A: 1\n\ntext\n"),
        (b"A: 1\n\nbare \r CR\r\r\n\r", b"A: 1\n\nbare \r CR\r\n\r"),
        (b"A: 1\n\nNUL \0, 8-bit \xff\xe4, no end", b"A: 1\n\nNUL \0, 8-bit \xff\xe4, no end"),
        (b"From a@b date\nA: 1\n\nx\nFrom here\n", b"A: 1\n\nx\nFrom here\n"),
        (b">From a@b date\nA: 1\n\nx\n", b">From a@b date\nA: 1\n\nx\n"),
        (b"From: a@b\n\nx\n", b"From: a@b\n\nx\n"),
        (b"\nno header\n", b"\nno header\n"),
    ],
)
def test_bytes_as_documented(box: Path, sent: bytes, stored: bytes) -> None:
    assert maildir_safe("deliver", box, stdin=sent).returncode == 0
    assert messages(box) == [stored]


def deliver_and_measure(box: Path, message: Path) -> int:
    """The most memory that a delivery took, in KiB resident."""
    report = "code = main(sys.argv[1:]); print(open('/proc/self/status').read()); sys.exit(code)"
    script = f"import sys; from maildir_safe._cli import main; {report}"
    words = [sys.executable, "-c", script, "deliver", "-d", "c@d", box]
    with message.open("rb") as file:
        done = subprocess.run(words, stdin=file, stdout=subprocess.PIPE, check=True)
    return int(done.stdout.partition(b"VmHWM:")[2].split()[0])


@pytest.mark.parametrize("mib", [100, pytest.param(1024, marks=pytest.mark.slow)])
def test_large_message_in_constant_memory(box: Path, tmp_path: Path, mib: int) -> None:
    """With CRLF across the borders of what is read at once."""
    block = (b"x" * 1000 + b"\r\n") * 1046
    with (tmp_path / "message").open("wb") as file:
        file.write(b"Subject: large\r\n\r\n")
        for _ in range(mib):
            file.write(block)
    assert deliver_and_measure(box, tmp_path / "message") < 60 * 1024
    (stored,) = (box / "new").iterdir()
    head = b"Delivered-To: c@d\nSubject: large\n\n"
    assert stored.stat().st_size == len(head) + mib * (len(block) - 1046)
    with stored.open("rb") as file:
        assert file.read(len(head) + 1001) == head + b"x" * 1000 + b"\n"
        file.seek(-1002, os.SEEK_END)
        assert file.read() == b"\n" + b"x" * 1000 + b"\n"


def test_endless_header_in_constant_memory(box: Path, tmp_path: Path) -> None:
    sent = b"A:\n" * (8 << 20)
    (tmp_path / "message").write_bytes(sent)
    assert deliver_and_measure(box, tmp_path / "message") < 60 * 1024
    assert messages(box) == [b"Delivered-To: c@d\n" + sent]


def test_delivery_id_delivers_once(box: Path) -> None:
    receipts = [
        json.loads(maildir_safe("deliver", "--json", "--delivery-id=4jXmY9", box).stdout) for _ in range(2)
    ]
    assert messages(box) == [MESSAGE]
    assert [receipt["repeated"] for receipt in receipts] == [False, True]
    assert receipts[0]["path"] == receipts[1]["path"]
    assert maildir_safe("deliver", "--delivery-id", "other", box).returncode == 0
    assert len(messages(box)) == 2


def test_folder(box: Path) -> None:
    assert maildir_safe("deliver", "-m", "Archive.2026", box).returncode == 0
    assert maildir_safe("deliver", "-m", "", box).returncode == 0
    assert messages(box / ".Archive.2026") == messages(box) == [MESSAGE]


def test_options_take_the_next_word_whatever_it_is(box: Path) -> None:
    """A sender cannot become an option."""
    done = maildir_safe("deliver", "-f", "--json", "-d--", "--", box)
    assert (done.returncode, done.stdout) == (0, b"")
    assert messages(box) == [b"Return-Path: <--json>\nDelivered-To: --\n" + MESSAGE]


# what is refused for good


@pytest.mark.parametrize(
    "header",
    [
        b"Delivered-To: c@d\n",
        b"delivered-TO : C@D\n",
        b"Received: from a\nDelivered-To: c@d\n",
        b"Received: from a\nDelivered-To:\n\tc@d\n",
        b"Delivered-To: other@d\nReceived: from a\nSubject: x\nDelivered-To: c@d\n",
    ],
)
def test_loop_is_refused(box: Path, header: bytes) -> None:
    for done in (
        maildir_safe("deliver", "-d", "c@D", box, stdin=header + MESSAGE),
        maildir_safe("deliver", box, stdin=header + MESSAGE, RECIPIENT="c@D"),
        maildir_safe("deliver", "-d", "c@D", box, stdin=(header + MESSAGE).replace(b"\n", b"\r\n")),
    ):
        assert "c@D" in refused(done, 65, "5.4.6")
    assert not box.exists()


@pytest.mark.parametrize(
    "message",
    [
        b"Delivered-To: c@d\nReceived: from a\n" + MESSAGE,  # put there by the server that runs us
        b"Delivered-To: x@y\n" + MESSAGE,
        MESSAGE + b"\nDelivered-To: c@d\n",
        b"\nDelivered-To: c@d\n",
    ],
)
def test_what_is_no_loop(box: Path, message: bytes) -> None:
    assert maildir_safe("deliver", "-d", "c@d", box, stdin=message).returncode == 0
    assert len(messages(box)) == 1


@pytest.mark.parametrize("name", ["SENDER", "RECIPIENT", "ORIGINAL_RECIPIENT"])
@pytest.mark.parametrize("evil", ["a@b\nX-Evil: 1", "a@b\r", "a\x1b[2J@b", "a@b\x85X: 1"])
def test_control_characters_never_reach_a_header(box: Path, name: str, evil: str) -> None:
    done = maildir_safe("deliver", box, **{name: evil})
    refused(done, 65, "5.1.7" if name == "SENDER" else "5.1.3")
    assert not list((box / "new").iterdir())


# what is kept for later


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], ""),
        (["delvier", "BOX"], "delvier"),
        (["deliver"], "Maildir"),
        (["deliver", ""], "Maildir"),
        (["deliver", "BOX", "BOX"], "Maildir"),
        (["deliver", "-x", "BOX"], "-x"),
        (["deliver", "--no-such-option", "BOX"], "--no-such-option"),
        (["deliver", "-f"], "-f"),
        (["deliver", "BOX", "--delivery-id"], "--delivery-id"),
        (["deliver", "--delivery-id", "", "BOX"], "--delivery-id is empty"),
        (["deliver", "--delivery-id=", "BOX"], "--delivery-id is empty"),
        (["deliver", "-m", "../../etc", "BOX"], "../../etc"),
        (["deliver", "--json=1", "BOX"], "--json=1"),
    ],
)
def test_wrong_usage_keeps_the_mail(box: Path, words: list[str], named: str) -> None:
    done = maildir_safe(*(str(box) if word == "BOX" else word for word in words))
    if words:
        assert named in refused(done, 75, "4.3.5")
    else:
        assert done.returncode == 75
        assert b"usage" in done.stderr
    assert not box.exists() or not messages(box)


def test_no_maildir_and_nowhere_to_make_it(tmp_path: Path) -> None:
    line = refused(maildir_safe("deliver", tmp_path / "not-mounted/ann"), 75, "4.2.0")
    assert "not-mounted" in line


def test_quota(box: Path) -> None:
    maildir_safe("deliver", box)
    (box / "maildirsize").write_text("90S\n90 1\n")
    assert "92 of 90 bytes" in refused(maildir_safe("deliver", box), 75, "4.2.2")
    assert len(messages(box)) == 1


def test_full_disk(box: Path) -> None:
    """RLIMIT_FSIZE makes the kernel refuse to write, as a full disk does."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, 1 << 14))

    done = subprocess.run(
        [*COMMAND, "deliver", box], input=bytes(1 << 16), preexec_fn=limit, capture_output=True, check=False
    )
    assert "write" in refused(done, 75, "4.3.1")
    assert not list((box / "new").iterdir())
    assert not list((box / "tmp").iterdir())


def test_nothing_on_standard_input(box: Path) -> None:
    refused(maildir_safe("deliver", box, stdin=b""), 75, "4.3.0")
    refused(maildir_safe("deliver", box, stdin=b"From a@b date\n"), 75, "4.3.0")
    assert not box.exists()


def test_closed_standard_input(box: Path) -> None:
    script = f"exec {' '.join(map(repr, COMMAND))} deliver {box} <&-"
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=False)
    refused(done, 75, "4.3.5")


def test_unreadable_standard_input(box: Path) -> None:
    with (box.parent / "write-only").open("wb") as file:
        done = subprocess.run([*COMMAND, "deliver", box], stdin=file, capture_output=True, check=False)
    assert "standard input" in refused(done, 75, "4.3.0")


def test_non_blocking_standard_input_is_not_taken_for_its_end(box: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.write(writing, MESSAGE)
    done = subprocess.run([*COMMAND, "deliver", box], stdin=reading, capture_output=True, check=False)
    os.close(reading)
    os.close(writing)
    assert "non-blocking" in refused(done, 75, "4.3.0")
    assert not box.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_while_the_message_comes_in(box: Path, number: signal.Signals) -> None:
    """Exim bounces mail when the command dies of a signal."""
    with subprocess.Popen(
        [*COMMAND, "deliver", box], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.write(bytes(1 << 20))  # more than a pipe holds: when this returns, it is reading
        process.stdin.flush()
        process.send_signal(number)
        process.stdin.close()  # a signal just before read() is seen when that returns
        process.wait(timeout=30)
        assert process.stdout is not None
        assert process.stderr is not None
        done = Done(COMMAND, process.returncode, process.stdout.read(), process.stderr.read())
    refused(done, 75, "4.3.0")
    assert not box.exists()


STARTS = {
    "console script": "from maildir_safe._cli import main; sys.exit(main())",
    "python -m": "import runpy; runpy.run_module('maildir_safe', run_name='__main__', alter_sys=True)",
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("loaded", ["maildir_safe._cli.deliver", "maildir_safe._maildir.maildir"])
@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS.keys())
def test_signal_while_the_command_starts(box: Path, number: signal.Signals, loaded: str, start: str) -> None:
    """It died of the signal, or of a traceback with exit code 1: mail servers bounce at both."""
    script = f"""
import os, sys
def kill(event, about):
    if event == "import" and about[0] == {loaded!r}:
        os.kill(os.getpid(), {int(number)})
sys.addaudithook(kill)
{start}
"""
    done = subprocess.run(
        [sys.executable, "-c", script, "deliver", box], input=MESSAGE, capture_output=True, check=False
    )
    assert "interrupted" in refused(done, 75, "4.3.0")
    assert not box.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_wrapper_of_the_documents_outlives_a_signal_while_python_starts(
    box: Path, number: signal.Signals, tmp_path: Path
) -> None:
    """Without it, the process dies before any line of ours runs, and a mail server may bounce the mail."""
    page = (Path(__file__).parents[2] / "docs/howto/mail-servers.md").read_text()
    [wrapper] = re.findall(r"```text\n(#!/bin/sh\n.*?)```", page, re.DOTALL)
    script = f"import os, sys; os.kill(os.getpid(), {int(number)}); {STARTS['console script']}"
    command = [sys.executable, "-c", script, "deliver"]

    def unignored() -> None:  # as a mail server starts it, whatever this test inherited
        signal.signal(number, signal.SIG_DFL)

    done = subprocess.run(
        [*command, box], input=MESSAGE, capture_output=True, check=False, preexec_fn=unignored
    )
    assert done.returncode == -number
    assert not box.exists()
    place = tmp_path / "wrapper"
    place.write_text(wrapper.replace("/usr/local/bin/maildir-safe deliver", shlex.join(command)))
    done = subprocess.run(["/bin/sh", place, box], input=MESSAGE, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert messages(box) == [MESSAGE]


def test_nothing_is_loaded_before_signals_are_blocked() -> None:
    """Each module would widen the window in which a signal kills the process."""
    look = "from maildir_safe._cli import main; print({*sys.modules} - there)"
    script = f"import sys; there = {{*sys.modules}}; {look}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    ours = {name for name in ast.literal_eval(done.stdout) if name.startswith("maildir_safe")}
    assert ours == {"maildir_safe", "maildir_safe._cli"}
    assert ast.literal_eval(done.stdout) - ours <= {"gc", "__future__"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signal_after_the_delivery_changes_nothing(box: Path, number: signal.Signals) -> None:
    """With 75, the mail server would deliver once more."""
    script = f"""
import os, sys
def kill(event, about):
    if event == "import" and about[0] == "json":
        os.kill(os.getpid(), {int(number)})
sys.addaudithook(kill)
{STARTS["console script"]}
"""
    words = [sys.executable, "-c", script, "deliver", "--json", box]
    done = subprocess.run(words, input=MESSAGE, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert messages(box) == [MESSAGE]


@pytest.mark.parametrize(
    "break_it",
    [
        "sys.modules['maildir_safe._maildir.maildir'] = None",  # as of a half installed package
        "raise_in_parse('1 / 0')",
        "raise_in_parse('raise KeyboardInterrupt')",
        "raise_in_parse('raise MemoryError')",
        "raise_in_parse('sys.exit(3)')",
        "raise_in_parse(r'raise ValueError(\"two\\nlines \\x1b[2J\")')",
        "raise_in_parse('parse(words)')",  # for ever
    ],
)
def test_whatever_else_happens_is_75(box: Path, break_it: str) -> None:
    script = f"""
import sys
def raise_in_parse(code):
    from maildir_safe._cli import deliver
    exec("def parse(words): " + code, deliver.__dict__)
{break_it}
from maildir_safe._cli import main
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script, "deliver", box], input=MESSAGE, capture_output=True, check=False
    )
    line = refused(done, 75, "4.3.0")
    assert "\x1b" not in line


# what nobody reads


def test_receipt_that_nobody_can_read_is_still_a_delivery(box: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, "deliver", "--json", box], input=MESSAGE, stdout=full, check=False)
    assert done.returncode == 0
    assert messages(box) == [MESSAGE]


def test_reason_that_nobody_can_read_is_still_75(box: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, "deliver", "-x", box], input=MESSAGE, stderr=full, check=False)
    assert done.returncode == 75


def test_help() -> None:
    done = maildir_safe("deliver", "--help")
    assert done.returncode == 0
    for option in (b"-f SENDER", b"-d RECIPIENT", b"-a ORIGINAL", b"-m FOLDER", b"--delivery-id ID", b"75"):
        assert option in done.stdout
