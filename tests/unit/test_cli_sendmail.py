"""`maildir-safe sendmail` as a process: what cron, PHP, git and mutt see of it."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from maildir_safe._submission import Rejected
from maildir_safe._submission.mailbox_list import addresses
from maildir_safe._submission.message import sender as parsed_sender
from tests import spool_support

SCRIPT = "import sys; sys.argv[0] = {!r}; from maildir_safe._cli import main; sys.exit(main())"
MESSAGE = b"From: ann@example.com\nTo: bob@example.com\nSubject: one\n\nThe body.\n"

Done = subprocess.CompletedProcess[bytes]


def sendmail(*words: str, stdin: bytes = MESSAGE, name: str = "sendmail") -> Done:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(f"/usr/sbin/{name}"), *words],
        input=stdin, capture_output=True, check=False,
    )  # fmt: skip


RECEIVED = re.compile(rb"Received: by \S+ \(maildir-safe sendmail, from uid \d+\);\n\t.* \+0000\n")


def queued(spool: Path) -> list[tuple[str, tuple[str, ...], bytes]]:
    """Sender, recipients and message of each item; the Received field is checked and cut off."""
    found = []
    for sender, recipients, message in spool_support.queued(spool):
        received = RECEIVED.match(message)
        assert received, message
        found.append((sender, recipients, message[received.end() :]))
    return found


def sent(spool: Path, *words: str, stdin: bytes = MESSAGE) -> tuple[str, tuple[str, ...], bytes]:
    done = sendmail(*words, stdin=stdin)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    (item,) = queued(spool)
    return item


def refused(spool: Path, code: int, *words: str, stdin: bytes = MESSAGE) -> str:
    """The one line that says why, after checking that nothing is queued."""
    done = sendmail(*words, stdin=stdin)
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("sendmail: ")
    assert (done.returncode, done.stdout) == (code, b""), line
    if spool.exists():
        assert queued(spool) == []
    return line


# how programs call it


@pytest.mark.parametrize(
    ("words", "sender", "recipients"),
    [
        (["-f", "a@b.example", "c@d.example"], "a@b.example", ("c@d.example",)),
        (["-fa@b.example", "--", "c@d.example", "root"], "a@b.example", ("c@d.example", "root@here.example")),
        (["-f", "", "c@d.example"], "", ("c@d.example",)),
        (["-f", "<>", "c@d.example"], "", ("c@d.example",)),
        (["-r", "www", "c@d.example,Eve <e@f.example>"], "www@here.example", ("c@d.example", "e@f.example")),
        (["-t", "-i", "-f", "a@b.example"], "a@b.example", ("bob@example.com",)),  # PHP
        (["-ti", "-fa@b.example"], "a@b.example", ("bob@example.com",)),
        (["-oem", "-oi", "-f", "a@b.example", "--", "c@d.example"], "a@b.example", ("c@d.example",)),
        (["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "-f", "a@b", "root"], "a@b", ("root@here.example",)),
        (["-Am", "-em", "-G", "-h", "3", "-L", "tag", "-m", "-N", "never", "-n", "-O", "X=y", "-R", "hdrs",
          "-U", "-V", "id", "-v", "-X", "log", "-odq", "-bm", "-f", "a@b", "c@d"], "a@b", ("c@d",)),
        (["-f", "a@b", "j\xfcrgen@d.example"], "a@b", ("j\xfcrgen@d.example",)),
    ],
)  # fmt: skip
def test_arguments(spool: Path, words: list[str], sender: str, recipients: tuple[str, ...]) -> None:
    assert sent(spool, *words)[:2] == (sender, recipients)


def test_the_default_sender_is_the_calling_user(spool: Path) -> None:
    import pwd

    assert sent(spool, "c@d")[0] == f"{pwd.getpwuid(os.getuid()).pw_name}@here.example"


def test_the_other_names_and_modes(spool: Path) -> None:
    sent(spool, "-f", "a@b", "c@d")
    for words, name in ((["-bp"], "sendmail"), ([], "mailq")):
        done = sendmail(*words, name=name)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"<a@b>" in done.stdout
        assert b"c@d" in done.stdout
    for words, name in (
        (["-bi"], "sendmail"),
        ([], "newaliases"),
        (["-q"], "sendmail"),
        (["-q30m"], "sendmail"),
    ):
        done = sendmail(*words, name=name)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert len(queued(spool)) == 1


def test_through_a_symbolic_link(spool: Path, tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("maildir-safe")
    if not command.exists():
        pytest.skip("the package is not installed here")
    link = tmp_path / "sendmail"
    link.symlink_to(command)
    subprocess.run([link, "-f", "a@b", "c@d"], input=MESSAGE, check=True)
    assert len(queued(spool)) == 1


# the message


def test_a_complete_message_stays_as_it_is(spool: Path) -> None:
    whole = b"Date: Mon, 23 Nov 2026 00:00:00 +0000\nMessage-ID: <1@x>\n" + MESSAGE + b"\xff\x00 8 bits\n"
    assert sent(spool, "-f", "a@b", "c@d", stdin=whole)[2] == whole


def test_what_is_missing_is_added(spool: Path) -> None:
    message = sent(spool, "-f", "a@b", "-F", "Ann (\xfc)", "c@d", stdin=b"just text\n")[2]
    header, _, body = message.partition(b"\n\n")
    assert body == b"just text\n"
    added = [
        rb"From: =\?utf-8\?B\?QW5uICjDvCk=\?= <a@b>",
        rb"Date: \w{3}, \d+ \w{3} \d{4} [\d:]{8} \+0000",
        rb"Message-ID: <\d+\.[0-9a-f]{16}@here\.example>",
    ]
    assert re.fullmatch(rb"\n".join(added), header)


def test_a_name_cannot_add_a_field(spool: Path) -> None:
    message = sent(spool, "-f", "a@b", "-F", 'A "B"\nBcc: x@y', "c@d", stdin=b"\nx\n")[2]
    assert message.startswith(b'From: "A \\"B\\"Bcc: x@y" <a@b>\n')


def test_addresses_without_a_domain_are_completed(spool: Path) -> None:
    cron = b'From: root (Cron Daemon)\nTo: "A, B" <ann>,\n bob, c@d\nSubject: s\n\nx\n'
    message = sent(spool, "-t", "-f", "a@b", stdin=cron)[2]
    completed = (
        b'From: root@here.example (Cron Daemon)\nTo: "A, B" <ann@here.example>,\n bob@here.example, c@d\n'
    )
    assert message.startswith(completed)


@pytest.mark.parametrize("words", [["-t"], ["c@d"]])
def test_bcc_is_removed(spool: Path, words: list[str]) -> None:
    stdin = b"To: a@b\nBCC : secret@x,\n\tsecret2@x\nReturn-Path: <r@x>\nSubject: s\n\nBcc: text\n"
    message = sent(spool, "-f", "f@b", *words, stdin=stdin)[2]
    assert b"secret" not in message
    assert b"Return-Path" not in message
    assert message.startswith(b"To: a@b\nSubject: s\n")
    assert message.endswith(b"\n\nBcc: text\n")


@pytest.mark.parametrize(
    ("header", "recipients"),
    [
        ("To: a@b\nCc: c@d\nBcc: e@f, a@b", ("a@b", "c@d", "e@f")),
        ("To: a@b\nResent-To: x@y\nResent-Bcc: z@y", ("x@y", "z@y")),
        ("to:\n a@b,\n\tc@d", ("a@b", "c@d")),
        ("To: Friends: a@b, Bob <c@d>;, e@f", ("a@b", "c@d", "e@f")),
        ("To: undisclosed-recipients:;\nBcc: a@b", ("a@b",)),
        ('To: "Doe, \\"J\\" <x@y>" <a@b>', ("a@b",)),
        ('To: <"john doe"@b>, "a\\"b,c"@d', ('"john doe"@b', '"a\\"b,c"@d')),
        ("To: a@b (comment (nested), with <x@y>), J. Q. Public <c@d>", ("a@b", "c@d")),
        ("To: <@relay.example,@r2.example:a@b>", ("a@b",)),
        ("To: ann @ b . example , x@[192.0.2.1]", ("ann@b.example", "x@[192.0.2.1]")),
        ("To: x@y <a@b>, , c@d,", ("a@b", "c@d")),
        ("To: J\xfcrgen <j\xfcrgen@m\xfcller.example>", ("j\xfcrgen@m\xfcller.example",)),
    ],
)
def test_recipients_of_the_header(spool: Path, header: str, recipients: tuple[str, ...]) -> None:
    assert sent(spool, "-t", "-f", "f@b", stdin=f"{header}\n\nx\n".encode())[1] == recipients


def test_a_resent_message_gets_resent_fields_on_top(spool: Path) -> None:
    message = sent(spool, "-t", "-f", "f@b", stdin=b"From: o@x\nResent-To: a@b\n\nx\n")[2]
    names = [line.partition(b":")[0] for line in message.partition(b"\n\n")[0].split(b"\n")]
    assert names == [b"Resent-From", b"Resent-Date", b"Resent-Message-ID", b"From", b"Resent-To"]


@pytest.mark.parametrize(
    ("words", "text", "body"),
    [
        ([], b"one\n.\nrest\n", b"one\n"),
        ([], b"one\n.\r\nrest\n", b"one\n"),
        ([], b"one\n.", b"one\n"),
        ([], b"one\n..\n.x\n", b"one\n..\n.x\n"),
        (["-i"], b"one\n.\nrest\n", b"one\n.\nrest\n"),
        (["-oi"], b"one\n.\nrest\n", b"one\n.\nrest\n"),
    ],
)
def test_the_lone_dot(spool: Path, words: list[str], text: bytes, body: bytes) -> None:
    message = sent(spool, *words, "-f", "a@b", "c@d", stdin=b"Subject: s\n\n" + text)[2]
    assert message.partition(b"\n\n")[2] == body


def test_a_lone_dot_is_found_however_the_bytes_arrive() -> None:
    from maildir_safe._submission.stdin import read_message

    class Pieces:
        def __init__(self, data: bytes, size: int) -> None:
            self.pieces = [data[at : at + size] for at in range(0, len(data), size)]

        def read(self, _: int) -> bytes:
            return self.pieces.pop(0) if self.pieces else b""

    text = b"a\r\n.b\n..\n\n.\r\nrest\n.\n"
    for size in range(1, len(text) + 1):
        assert read_message(Pieces(text, size), 1000, until_dot=True) == b"a\n.b\n..\n\n"
        assert read_message(Pieces(text, size), 1000) == text.replace(b"\r\n", b"\n")


def test_a_person_ends_a_message_with_a_dot(spool: Path) -> None:
    """The process ends at the dot, though its standard input stays open."""
    words = [sys.executable, "-c", SCRIPT.format("sendmail"), "-f", "a@b", "c@d"]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"Subject: s\n\nx\n.\n")
        process.stdin.flush()
        assert process.wait(60) == 0
    assert queued(spool)[0][2].endswith(b"\n\nx\n")


def test_more_than_fifty_recipients_are_several_items(spool: Path) -> None:
    done = sendmail("-f", "a@b", *(f"r{n}@x" for n in range(120)))
    assert done.returncode == 0
    items = queued(spool)
    assert sorted(len(recipients) for _, recipients, _ in items) == [20, 50, 50]
    assert len({who for _, recipients, _ in items for who in recipients}) == 120


# what is refused


@pytest.mark.parametrize(
    ("code", "words", "reason"),
    [
        (64, [], "no recipients"),
        (64, ["-t", "c@d"], "both"),
        (64, ["-Z", "c@d"], "'-Z'"),
        (64, ["c@d", "-t"], "'-t'"),
        (64, ["-f"], "-f needs"),
        (64, ["-bd"], "-bd"),
        (64, ["-f", "a@b, c@d", "x@y"], "sender"),
        (65, ["a b@c"], "'a b@c'"),
        (65, ["a@b>\r\nRCPT TO:<x@y"], "addresses"),
        (65, ["a@b\x1b[2J"], "\\x1b"),
        (65, ["--", "a@@b"], "'a@@b'"),
        (65, ["<>"], "addresses"),
        (65, ["x" * 400], "valid"),
        (65, ['"unended@b'], "addresses"),
        (65, ["a@b (unended"], "addresses"),
        (65, ["\u202ea@b"], "valid"),
    ],
)
def test_wrong_arguments(spool: Path, code: int, words: list[str], reason: str) -> None:
    line = refused(spool, code, *words)
    assert reason in line
    assert line.isprintable()


@pytest.mark.parametrize(
    ("code", "stdin"),
    [
        (65, b"Subject: s\n\nx\n"),
        (65, b"To: a@b, c d e\n\nx\n"),
        (65, b"To: a@b, c@d, " + b"(" * 1000 + b"\n\nx\n"),
        (65, b"To: a@b\n\n" + b"x" * 100_000),
        (65, b"Received: x\n" * 100 + b"To: a@b\n\n"),
        (65, b"To: \xff@b\n\nx\n"),
        (65, b"To: a: b: c@d;;\n\nx\n"),
        (75, b""),
    ],
)  # fmt: skip
def test_wrong_messages(spool: Path, code: int, stdin: bytes) -> None:
    refused(spool, code, "-t", "-f", "a@b", stdin=stdin)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('spool = "/s"\nsmarthost = "x"\n', "'smarthost'"),
        ("", "spool"),
        ('spool = "s"', "absolute"),
        ("spool = 1", "a string"),
        ('spool = "/s"\nsize_limit = true', "an integer"),
        ('spool = "/s"\nsize_limit = 0', "size_limit"),
        ('spool = "/s"\ndomain = "a b"', "domain"),
        ("spool = ", "Invalid"),
        ("#" + "x" * 70_000, "bytes"),
    ],
)
def test_wrong_configuration(spool: Path, text: str, reason: str) -> None:
    config = Path(os.environ["MAILDIR_SAFE_SENDMAIL_CONFIG"])
    config.write_text(text)
    line = refused(spool, 78, "c@d")
    assert str(config) in line
    assert reason in line
    config.unlink()
    assert "No such file" in refused(spool, 78, "c@d")


def test_without_a_spool_mail_is_refused_for_now_and_no_spool_is_made(spool: Path) -> None:
    spool.rename(spool.with_name("away"))
    assert "no spool" in refused(spool, 75, "c@d")
    assert not spool.exists()


def test_a_full_disk_is_temporary(spool: Path) -> None:
    import resource

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format("sendmail"), "c@d"], input=MESSAGE + b"x" * 90_000,
        capture_output=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )  # fmt: skip
    assert done.returncode == 75, done
    assert len(done.stderr.splitlines()) == 1
    assert queued(spool) == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGHUP, 75), (signal.SIGINT, 130)]
)
def test_a_signal_before_the_put(spool: Path, number: signal.Signals, code: int) -> None:
    words = [sys.executable, "-c", SCRIPT.format("sendmail"), "-t"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(MESSAGE)
        process.stdin.flush()
        while int.from_bytes(fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4)), sys.byteorder):
            time.sleep(0.01)  # until the process has read it
        process.send_signal(number)
        assert process.wait(60) == code
        assert b"nothing is queued" in process.stderr.read()
    assert queued(spool) == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGHUP, 75), (signal.SIGINT, 130)]
)
def test_a_signal_while_a_class_is_made(spool: Path, number: int, code: int) -> None:
    """Python 3.11 wraps what is raised there in a RuntimeError."""
    script = f"""
import os, sys
class Killed:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), {int(number)})
class Killer:
    def find_spec(self, name, *_):
        if name == "pwd":  # one of ours would not come here
            type("Made", (), {{"killed": Killed()}})
sys.meta_path.insert(0, Killer())
"""
    words = [sys.executable, "-c", script + SCRIPT.format("sendmail"), "-t"]
    done = subprocess.run(words, input=MESSAGE, capture_output=True, check=False)
    assert done.returncode == code, done
    assert b"; nothing is queued" in done.stderr
    assert queued(spool) == []


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace, which kills at a chosen system call")
def test_kill_at_each_call_that_changes_the_spool(spool: Path) -> None:
    """Exit code 0 means that the message is queued once. When killed, it is there once as a whole, or not."""
    words = [sys.executable, "-c", SCRIPT.format("sendmail"), "-f", "a@b", "c@d", "e@elsewhere.example"]
    killed = acknowledged = 0
    for call in ("mkdir,mkdirat", "fsync,fdatasync,syncfs", "rename,renameat,renameat2", "pwrite64,write"):
        for when in range(1, 8):
            before = len(queued(spool))
            done = subprocess.run(
                ["strace", "-f", "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={when}", *words],
                input=MESSAGE, capture_output=True, check=False,
            )  # fmt: skip
            after = queued(spool)
            assert len(after) - before in ((1,) if done.returncode == 0 else (0, 1))
            assert all(recipients == ("c@d", "e@elsewhere.example") for _, recipients, _ in after)
            assert all(text.endswith(b"The body.\n") for _, _, text in after)
            killed += done.returncode != 0
            acknowledged += done.returncode == 0
            if done.returncode == 0:
                break
    assert killed >= 4
    assert acknowledged >= 3


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
def test_who_may_send(spool: Path) -> None:
    """Another user is refused for good. What root puts belongs to the owner of the spool."""
    config = Path(os.environ["MAILDIR_SAFE_SENDMAIL_CONFIG"])
    for directory in (config, *list(config.parents)[:-1]):
        if directory.is_relative_to("/tmp") and directory != Path("/tmp"):
            directory.chmod(0o755)
    as_nobody = (
        "import os, tomllib, maildir_safe._cli.sendmail, maildir_safe._submission.message;"
        "import maildir_safe._submission.settings, maildir_safe._submission.stdin;"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534);"
    )
    words = [sys.executable, "-c", as_nobody + SCRIPT.format("sendmail"), "-f", "a@b", "c@d"]
    done = subprocess.run(words, input=MESSAGE, capture_output=True, check=False)
    assert done.returncode == 77, done
    assert b"uid 65534" in done.stderr
    assert queued(spool) == []
    for path in (spool, *spool.rglob("*")):
        os.chown(path, 65534, 65534)
    sent(spool, "-f", "a@b", "c@d")
    (item,) = (path for path in spool.rglob("*") if path.is_file())
    assert (item.stat().st_uid, item.stat().st_mode & 0o777) == (65534, 0o600)


@pytest.mark.parametrize(
    "words", [["-f", "a@b\nBcc: x", "c@d"], ["-r", "a@b\tc", "c@d"], ["a@b: c@d;"], ["Friends: c@d"]]
)
def test_no_address_is_lost_as_the_name_of_a_group(words: list[str]) -> None:
    with pytest.raises(Rejected):
        _ = parsed_sender(words[1], "here.example") if words[0] in ("-f", "-r") else addresses(words[0])
