"""What users of other senders complain about, shown on Debian's packages, and ours in the same situation.

The table of docs/howto/sendmail.md says the same. The day a package is mended, its test fails here.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mta import scratch, wait_for
from smtp_support import Serve

from maildir_safe import Queue
from tests.system import sendmail_programs
from tests.system.sendmail_room import AS_NOBODY, Room
from tests.system.smarthost import Smarthost

pytestmark = [
    pytest.mark.mounts,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.getuid() != 0, reason="needs root, for a private mount namespace"),
    pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs Debian's package archive"),
]

MESSAGE = b"From: ann@sink.example\nTo: bob@sink.example\nSubject: x\n\nbody\n"
ANN, BOB, HANG = "ann@sink.example", "bob@sink.example", "hang@sink.example"
DMA = ("/usr/sbin/dma", "-D")  # in the foreground
MakeRoom = Callable[[str], Room]


@pytest.fixture(scope="module")
def packages() -> Iterator[dict[str, Path]]:
    with scratch() as base:
        try:
            yield sendmail_programs.unpack(base)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"the packages cannot be downloaded: {error.stderr}")


@pytest.fixture
def server() -> Iterator[Smarthost]:
    with Smarthost() as server:
        yield server


@pytest.fixture
def room(packages: dict[str, Path], server: Smarthost) -> Iterator[MakeRoom]:
    with scratch() as base:

        def make(program: str) -> Room:
            here = base / program
            here.mkdir()
            made = Room(program, packages.get(program), here, server.port)
            if program == "ours":
                Queue(made.spool / "ours").close()
            return made

        yield make


def work(server: Smarthost, *options: str) -> list[str]:
    return ["work", "/var/spool/ours", "--to", f"smtp://127.0.0.1:{server.port}", *options]


def states(room: Room) -> dict[str, int]:
    with Queue(room.spool / "ours", create=False) as queue:
        return {state: count for state, count in queue.stats().items() if count and state != "oldest_age"}


# One connection that hangs holds up all other mail


def test_nullmailer_waits_for_a_connection_that_hangs(room: MakeRoom, server: Smarthost) -> None:
    nullmailer = room("nullmailer")
    server.hang_at = HANG
    assert nullmailer.run("/usr/sbin/sendmail", "-f", ANN, HANG, message=MESSAGE)[0] == 0
    sender = nullmailer.start("/usr/sbin/nullmailer-send")
    try:
        assert server.hanging.wait(60)
        assert nullmailer.run("/usr/sbin/sendmail", "-f", ANN, BOB, message=MESSAGE)[0] == 0
        time.sleep(3)  # were it slower than this, it would not be seen that it is mended
        assert server.tried == [(ANN, HANG)]
        server.release()
        wait_for("what waited", lambda: [one for one in server.taken if one[1] == BOB])
    finally:
        sender.kill()
        sender.communicate()


def test_nullmailer_gives_a_hanging_connection_up_after_its_sendtimeout(
    room: MakeRoom, server: Smarthost
) -> None:
    """So it is an hour for each message that hangs, by default, and no longer a month."""
    nullmailer = room("nullmailer")
    nullmailer.configure("nullmailer/sendtimeout", "1\n")
    server.hang_at = HANG
    assert nullmailer.run("/usr/sbin/sendmail", "-f", ANN, HANG, message=MESSAGE)[0] == 0
    sender = nullmailer.start("/usr/sbin/nullmailer-send")
    try:
        wait_for("the second try", lambda: [one for one in server.taken if one[1] == HANG])
        assert server.hanging.is_set()
    finally:
        sender.kill()
        sender.communicate()


def test_ours_sends_past_a_connection_that_hangs(room: MakeRoom, server: Smarthost) -> None:
    ours = room("ours")
    server.hang_at = HANG
    assert ours.run(ours.ours, "sendmail", "-f", ANN, HANG, message=MESSAGE) == (0, "")
    worker = ours.start(ours.ours, *work(server))
    try:
        assert server.hanging.wait(60)
        assert ours.run(ours.ours, "sendmail", "-f", ANN, BOB, message=MESSAGE) == (0, "")
        wait_for("the other message", lambda: server.taken, 60)
        assert server.hanging.is_set()
        assert [recipient for _, recipient, _ in server.taken] == [BOB]
        server.release()
        wait_for("both messages", lambda: len(server.taken) == 2 and not states(ours), 60)
    finally:
        worker.kill()
        worker.communicate()


# Bounces without end


def test_nullmailer_no_longer_bounces_a_bounce(room: MakeRoom, server: Smarthost) -> None:
    nullmailer = room("nullmailer")
    nullmailer.configure("nullmailer/pausetime", "0\n")  # once, and then it ends
    server.reply_to_recipient = "550 5.1.1 no"
    assert nullmailer.run("/usr/sbin/sendmail", "-f", ANN, BOB, message=MESSAGE)[0] == 0
    for _ in range(4):
        assert nullmailer.run("/usr/sbin/nullmailer-send")[0] == 0
    assert server.tried == [(ANN, BOB), ("", ANN)]
    assert nullmailer.files("nullmailer/failed/*")  # two may have one name: second and process
    assert not nullmailer.files("nullmailer/queue/*")


def test_dma_sends_a_refused_bounce_for_ever(room: MakeRoom, server: Smarthost) -> None:
    dma = room("dma")
    server.reply_to_recipient = "550 5.1.1 no"
    dma.run(*DMA, "-f", ANN, BOB, message=MESSAGE)
    for _ in range(4):
        dma.run(*DMA, "-q")
    assert server.tried == [(ANN, BOB), *[("", ANN)] * 5]
    assert len(dma.files("dma/Q*")) == 1


def test_ours_sends_one_bounce_and_keeps_what_was_refused(room: MakeRoom, server: Smarthost) -> None:
    ours = room("ours")
    server.reply_to_recipient = "550 5.1.1 no"
    assert ours.run(ours.ours, "sendmail", "-f", ANN, BOB, message=MESSAGE) == (0, "")
    for _ in range(3):
        ours.run(ours.ours, *work(server, "--once"))
    assert server.tried == [(ANN, BOB), ("", ANN)]
    assert states(ours) == {"failed": 1}


# A good message that is called corrupt, and a file that is


LONG_LINE = MESSAGE + b"x" * 998 + b"\nthe last line\n"  # 998 is what RFC 5322 allows
LONGER_LINE = MESSAGE + b"x" * 2000 + b"\nthe last line\n"


@pytest.mark.parametrize("message", [LONG_LINE, LONGER_LINE])
def test_dma_refuses_long_lines(room: MakeRoom, server: Smarthost, message: bytes) -> None:
    dma = room("dma")
    code, said = dma.run(*DMA, "-f", ANN, BOB, message=message)
    assert code == 65
    assert "bad mail input format" in said
    assert server.tried == []
    assert dma.files("dma/Q*") == []


@pytest.mark.parametrize("message", [LONG_LINE, LONGER_LINE])
def test_ours_sends_long_lines(room: MakeRoom, server: Smarthost, message: bytes) -> None:
    ours = room("ours")
    assert ours.run(ours.ours, "sendmail", "-f", ANN, BOB, message=message) == (0, "")
    assert ours.run(ours.ours, *work(server, "--once"))[0] == 0
    ((_, _, text),) = server.taken
    assert max(map(len, text.split(b"\r\n"))) <= 998
    assert text.replace(b"\r\n ", b"").endswith(b"x" * message.count(b"x", 70) + b"\r\nthe last line\r\n")


def overwrite(file: Path) -> None:
    """With zeros, as some file systems leave a file after a crash."""
    file.write_bytes(bytes(file.stat().st_size))


def test_dma_throws_a_damaged_file_away_and_tells_nobody(room: MakeRoom, server: Smarthost) -> None:
    dma = room("dma")
    dma.configure("dma/dma.conf", f"SMARTHOST 127.0.0.1\nPORT {server.port}\nDEFER\n")
    assert dma.run(*DMA, "-f", ANN, BOB, message=MESSAGE)[0] == 0
    (name,) = dma.files("dma/M*")
    overwrite(dma.spool / "dma" / name)
    dma.run(*DMA, "-q")
    assert server.tried == [(ANN, BOB)]  # and no bounce
    assert dma.files("dma/[MQ]*") == []


def test_ours_keeps_a_damaged_file(room: MakeRoom, server: Smarthost) -> None:
    ours = room("ours")
    for address in (ANN, BOB):
        assert ours.run(ours.ours, "sendmail", "-f", ANN, address, message=MESSAGE) == (0, "")
    with Queue(ours.spool / "ours", create=False) as queue:
        (damaged, _) = (entry.item.id for entry in queue.items())
    (file,) = (file for file in ours.spool.glob("ours/pending/**/*") if damaged in file.name)
    overwrite(file)
    ours.run(ours.ours, *work(server, "--once"))
    assert len(server.taken) == 1
    assert states(ours) == {"corrupt": 1}


# Mail that is lost when it cannot be sent


def test_msmtp_keeps_nothing_if_the_server_is_not_there(room: MakeRoom, server: Smarthost) -> None:
    msmtp = room("msmtp")
    server.close()
    code, _ = msmtp.run("/usr/bin/msmtp", "-C", "/etc/msmtprc", "-f", ANN, BOB, message=MESSAGE)
    assert code == 75
    assert msmtp.files("**/*") == []


def test_msmtp_keeps_nothing_if_the_server_says_later(room: MakeRoom, server: Smarthost) -> None:
    msmtp = room("msmtp")
    server.reply_to_recipient = "450 4.2.1 later"
    code, _ = msmtp.run("/usr/bin/msmtp", "-C", "/etc/msmtprc", "-f", ANN, BOB, message=MESSAGE)
    assert code != 0
    assert msmtp.files("**/*") == []


def test_ours_keeps_it_if_the_server_is_not_there(room: MakeRoom, server: Smarthost) -> None:
    ours = room("ours")
    server.close()
    assert ours.run(ours.ours, "sendmail", "-f", ANN, BOB, message=MESSAGE) == (0, "")
    assert ours.run(ours.ours, *work(server, "--once"))[0] == 75
    assert states(ours) == {"pending": 1}


def test_ours_sends_it_when_the_server_takes_it(room: MakeRoom, server: Smarthost) -> None:
    ours = room("ours")
    server.reply_to_recipient = "450 4.2.1 later"
    assert ours.run(ours.ours, "sendmail", "-f", ANN, BOB, message=MESSAGE) == (0, "")
    assert ours.run(ours.ours, *work(server, "--once"))[0] == 75
    with Queue(ours.spool / "ours", create=False) as queue:
        (entry,) = queue.items()
        queue.retry(entry.item.id)
    server.reply_to_recipient = "250 ok"
    assert ours.run(ours.ours, *work(server, "--once"))[0] == 0
    assert [recipient for _, recipient, _ in server.taken] == [BOB]
    assert states(ours) == {}


# A set-id program is needed: in a service with NoNewPrivileges= nobody can send


SENDMAIL = {"nullmailer": "/usr/sbin/sendmail", "dma": "/usr/sbin/dma", "Postfix": "/usr/sbin/sendmail"}
QUEUED = {"nullmailer": "nullmailer/queue/*", "dma": "dma/Q*", "Postfix": "postfix/maildrop/*"}


@pytest.mark.parametrize("program", SENDMAIL)
def test_others_need_a_set_id_program(room: MakeRoom, packages: dict[str, Path], program: str) -> None:
    if program == "Postfix":  # as its postinst has it
        postdrop = packages["Postfix"] / "usr/sbin/postdrop"
        shutil.chown(postdrop, "root", "postdrop")
        postdrop.chmod(0o2555)
    theirs = room(program)
    theirs.configure("dma/dma.conf", "DEFER\n")
    assert theirs.run(*AS_NOBODY, SENDMAIL[program], BOB, message=MESSAGE)[0] == 0
    assert len(theirs.files(QUEUED[program])) == 1
    refused = theirs.start(*AS_NOBODY, "--no-new-privs", SENDMAIL[program], BOB)
    try:
        assert refused.stdin is not None
        assert refused.stdout is not None
        refused.stdin.write(MESSAGE)
        refused.stdin.close()
        # Postfix does not end, but tries again every ten seconds
        assert b"Permission denied" in refused.stdout.readline() or refused.wait(60) != 0
    finally:
        refused.send_signal(signal.SIGKILL)
        refused.wait(60)
    assert len(theirs.files(QUEUED[program])) == 1


def test_ours_needs_none(room: MakeRoom, tmp_path: Path) -> None:
    ours = room("ours")
    socket = ours.spool / "submit.sock"
    ours.configure("maildir-safe/sendmail.toml", 'submit = "/var/spool/submit.sock"\n')
    serve = Serve(tmp_path, "--queue", str(ours.spool / "ours"), "--lmtp", str(socket), "--lmtp-mode", "0666")
    words = [*AS_NOBODY, "--no-new-privs", ours.ours, "sendmail", BOB]
    assert ours.run(*words, message=MESSAGE) == (0, "")
    assert serve.end()[0] == 0
    assert states(ours) == {"pending": 1}
    set_ids = [Path(sys.executable).resolve(), Path(ours.ours)]
    assert not any(file.stat().st_mode & 0o6000 for file in set_ids)
