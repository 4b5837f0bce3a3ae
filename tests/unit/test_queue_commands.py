"""The commands `queue`, `work` and `fsck`, and an operator's moves."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from maildir_safe import Maildir, Queue
from maildir_safe._check.fsck import SpoolCheck
from maildir_safe._check.fsck_maildir import MaildirCheck
from maildir_safe._cli import main
from maildir_safe._cli.work import make_courier
from maildir_safe._fs.quirks import Quirks
from maildir_safe._queue.consumer import Consumer
from maildir_safe.errors import PermanentError, TemporaryError

MESSAGE = b"Subject: hello\n\nbody\n"


@pytest.fixture
def spool(tmp_path: Path) -> str:
    return str(tmp_path / "spool")


def put(spool: str, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(MESSAGE)))
    return main(["queue", "put", spool, *words])


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_from_put_to_a_maildir(
    spool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for user in ("one", "two"):
        Maildir(tmp_path / user)
    assert put(spool, monkeypatch, "-f", "s@x.org", "one@x.org", "two@y.org") == 0
    first, second = lines(capsys)
    assert main(["queue", "ls", "--json", spool]) == 0
    listed = [json.loads(line) for line in lines(capsys)]
    assert {one["queue_id"] for one in listed} == {first, second}
    assert listed[0].keys() >= {
        "queue_name", "queue_id", "arrival_time", "message_size", "forced_expire", "sender", "recipients",
    }  # fmt: skip
    assert (listed[0]["sender"], listed[0]["queue_name"]) == ("s@x.org", "pending")
    assert main(["queue", "show", spool, first]) == 0
    assert "Delivered-To: " in capsys.readouterr().out
    assert main(["work", spool, "--to", f"maildir:{tmp_path}/{{local}}", "--once"]) == 0
    assert [len(list(Maildir(tmp_path / user).messages())) for user in ("one", "two")] == [1, 1]
    capsys.readouterr()
    assert main(["queue", "stats", "--json", spool]) == 0
    assert set(json.loads(lines(capsys)[0]).values()) == {0}


def test_an_operators_moves(
    spool: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(spool, monkeypatch, "--in", "5000", "one@x.org")
    [ident] = lines(capsys)
    queue = Queue(spool)
    assert queue.claim() == []
    assert main(["queue", "hold", spool, ident[:25]]) == 0
    assert [one.state for one in queue.items()] == ["hold"]
    assert main(["queue", "hold", spool, ident]) == 1
    assert "it is in hold/" in capsys.readouterr().err
    assert main(["queue", "unhold", spool, ident]) == 0
    assert queue.claim() == []
    assert main(["queue", "retry", spool, ident]) == 0
    [claim] = queue.claim()
    assert main(["queue", "rm", spool, ident]) == 75
    assert "has it" in capsys.readouterr().err
    claim.fail("nobody wants it")
    assert main(["queue", "why", spool, ident]) == 0
    assert "nobody wants it" in capsys.readouterr().out
    assert main(["queue", "retry", spool, ident]) == 0
    assert [(one.state, one.item.states) for one in queue.items()] == [("pending", "o")]
    assert main(["queue", "rm", spool, ident]) == 0
    assert list(queue.items()) == []
    assert [name for _, _, names in os.walk(f"{spool}/notes") for name in names] == []
    assert main(["queue", "show", spool, "nothing"]) == 1
    queue.close()


def test_put_says_what_mail_servers_understand(
    tmp_path: Path, spool: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert put(str(tmp_path / "no" / "spool"), monkeypatch, "a@x.org") == 75
    assert capsys.readouterr().err.startswith("4.")
    assert put(spool, monkeypatch, "a\nb@x.org") == 65
    assert capsys.readouterr().err.startswith("5.")


def test_what_is_no_spool_is_not_made_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["queue", "ls", str(tmp_path)]) == 75
    assert main(["work", str(tmp_path), "--to", "maildir:/x"]) == 75
    assert main(["work", str(tmp_path), "--to", "ftp://x"]) == 64
    assert "not a spool" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_a_mount_that_hosts_cannot_share_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "maildir_safe._queue.store.mount_rules.quirks", lambda _: Quirks(one_rename_wins=False)
    )
    with pytest.raises(TemporaryError, match="shared=False"):
        Queue(tmp_path / "s")
    alone, other = Queue(tmp_path / "s", shared=False), Queue(tmp_path / "s", shared=False)
    other._opened.writer._shard = "elsewhere-00"
    alone.put(MESSAGE, "", ["mine@x.org"])
    other.put(MESSAGE, "", ["its@x.org"])
    assert [claim.envelope.recipients for claim in alone.claim(9)] == [("mine@x.org",)]
    alone.close()


def test_fsck_of_a_healthy_spool_finds_nothing(spool: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Queue(spool) as queue:
        queue.put_many([(MESSAGE, "", ["a@x.org"])] * 3)
        held = queue.claim()
        assert main(["fsck", spool]) == 0
        assert capsys.readouterr().out == ""
        held[0].ack()


def test_fsck_mends_a_spool(spool: str) -> None:
    queue = Queue(spool, heartbeat=False)
    queue.put_many([(MESSAGE, "", [f"{n}@x.org"]) for n in range(4)])
    items = [Path(spool, one.path) for one in queue.items()]
    items[0].write_bytes(b"short")
    items[1].write_bytes(b"\0" * items[1].stat().st_size)
    Path(spool, "stray").touch()
    items[2].with_name("not an item").touch()
    items[2].with_name(".nfs0001").touch()
    Path(spool, "hold", "astray").touch()
    note = Path(spool, "notes", "2d", "1.M1R1.gone.0")
    note.parent.mkdir()
    note.write_text("{}")
    Path(spool, "claimed", "feed-300").mkdir()
    items[3].rename(Path(spool, "claimed", "feed-300", items[3].name))
    old = Path(spool, "tmp", "left")
    old.touch()
    os.utime(old, (0, 0))
    found = {Path(f.path).name: f for f in SpoolCheck(spool).run()}
    assert found.keys() == {
        items[0].name, items[1].name, "stray", "astray", "not an item", ".nfs0001", note.name, "feed-300",
        "left",
    }  # fmt: skip
    assert not any(finding.mended for finding in found.values())
    mended = {Path(f.path).name for f in SpoolCheck(spool, fix=True).run() if f.mended}
    assert mended == {items[0].name, items[1].name, note.name, "feed-300", "left"}
    assert queue.stats() | {"oldest_age": 0} == {
        "pending": 2, "claimed": 0, "hold": 0, "failed": 0, "corrupt": 2, "oldest_age": 0,
    }  # fmt: skip
    again = {Path(f.path).name for f in SpoolCheck(spool).run()}
    assert again == {"stray", "astray", "not an item", ".nfs0001", items[0].name, items[1].name}


def test_fsck_tells_an_item_that_is_there_twice(spool: str) -> None:
    queue = Queue(spool)
    queue.put(MESSAGE, "", ["a@x.org"])
    [one] = queue.items()
    part = Path(spool, "hold", "00")
    part.mkdir()
    (part / one.item.returned().name).write_bytes(Path(spool, one.path).read_bytes())
    [finding] = SpoolCheck(spool, fix=True).run()
    assert "2 times" in finding.what


def test_an_orphan_is_left_alone_while_any_worker_lives(spool: str) -> None:
    with Queue(spool) as queue:
        queue.put(MESSAGE, "", ["a@x.org"])
        [claim] = queue.claim()
        alive = next(Path(spool, "alive").iterdir())
        hidden = alive.rename(Path(spool, "hidden"))
        other = Queue(spool)
        other.claim()
        assert [f.mended for f in SpoolCheck(spool, fix=True).run() if "no worker" in f.what] == [False]
        hidden.rename(alive)
        claim.ack()
        other.close()


def test_fsck_of_a_maildir(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "m")
    good, short, twice = (maildir.deliver(MESSAGE) for _ in range(3))
    assert main(["fsck", maildir.path]) == 0
    Path(short.path).write_bytes(b"x")
    Path(maildir.path, "cur", f"{twice.key}:2,S").write_bytes(MESSAGE)
    Path(maildir.path, "new", "stray.d").mkdir()
    Path(maildir.path, "new", f"{time.time_ns()}.M1.h:2,S").write_bytes(MESSAGE)
    Path(maildir.path, "new", "1.M2.h").touch()
    found = [finding.what for finding in MaildirCheck(maildir.path).run()]
    assert len(found) == 5
    for words in ("its name says", "2 times", "no message", "flags", "empty"):
        assert sum(words in what for what in found) == 1, words
    assert good.key not in str(found)
    assert main(["fsck", "--json", maildir.path]) == 1


def test_a_message_is_put_as_deliver_takes_it(spool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the envelope line of mbox, its lines ending in LF."""
    raw = b"From s@x.org Mon Nov 30 02:30:18 2026\r\nSubject: hello\r\n\r\nbody\r\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
    assert main(["queue", "put", spool, "a@x.org"]) == 0
    [claim] = Queue(spool).claim()
    assert claim.read() == MESSAGE


def test_nothing_is_no_message(spool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert main(["queue", "put", spool, "a@x.org"]) == 75
    assert not os.path.exists(spool)


@pytest.mark.parametrize("delay", ["-5", "nan", "inf"])
def test_a_message_is_not_put_for_the_past(spool: str, monkeypatch: pytest.MonkeyPatch, delay: str) -> None:
    with pytest.raises(SystemExit):
        put(spool, monkeypatch, f"--in={delay}", "a@x.org")
    assert not os.path.exists(spool)


def test_what_was_put_and_cannot_be_printed_was_put(tmp_path: Path) -> None:
    """Whoever sees a failure puts it again; it caught exit 1 after the message was in the queue."""
    spool = str(tmp_path / "spool")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "maildir_safe", "queue", "put", spool, "a@x.org"],
            input=MESSAGE, stdout=full, stderr=subprocess.PIPE, timeout=60,
        )  # fmt: skip
    assert done.returncode == 0
    [listed] = Queue(spool).items()
    assert listed.item.id in done.stderr.decode()


def test_what_was_put_was_put_though_nothing_at_all_can_be_printed(spool: str) -> None:
    """cron sends both outputs to one file, on one full disk: a retry would send the message twice."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "maildir_safe", "queue", "put", spool, "a@x.org"],
            input=MESSAGE, stdout=full, stderr=full, timeout=60,
        )  # fmt: skip
    assert done.returncode == 0
    assert len(list(Queue(spool).items())) == 1


def test_a_password_is_not_taken_from_the_command_line_nor_told(
    spool: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Queue(spool).close()
    for url in (
        "smtp://user:se/cret@127.0.0.1:9",
        "smtp://user:secret@127.0.0.1:9",
        "smtp://u:secret@x:port",
    ):
        assert main(["work", spool, "--once", "--to", url]) == 64
        assert "cret" not in capsys.readouterr().err
    file = tmp_path / "password"
    file.write_text("secret\n")
    assert make_courier("smtp://user@127.0.0.1:9", str(file))._login == ("user", "secret")  # type: ignore[attr-defined]


def test_only_a_courier_that_there_is_is_made(spool: str, capsys: pytest.CaptureFixture[str]) -> None:
    Queue(spool).close()
    for where in ("stmp://user:secret@127.0.0.1:9", "secret", "", "/mail/secret"):
        assert main(["work", spool, "--once", "--to", where]) == 64
        told = capsys.readouterr().err
        assert "no courier begins so; they are maildir:, smtp:, smtps:, lmtp:" in told
        assert "secret" not in told


def test_working_once_says_when_nothing_could_be_done(
    spool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = ["work", spool, "--once", "--to", f"maildir:{tmp_path}/nobody"]
    assert main(nowhere) == 75
    assert "there is no spool; a worker, or 'queue put', makes one" in capsys.readouterr().err
    put(spool, monkeypatch, "a@x.org")
    assert main(nowhere) == 75
    assert main(nowhere) == 0  # nothing is due now
    put(spool, monkeypatch, "a@x.org")
    monkeypatch.setattr(Consumer, "claim", lambda *_: (_ for _ in ()).throw(TemporaryError("it hangs")))
    assert main(nowhere) == 75
    assert "it hangs" in capsys.readouterr().err


def test_work_logs_by_default_what_it_could_not_deliver(spool: str, tmp_path: Path) -> None:
    Maildir(tmp_path / "here")
    with Queue(spool) as queue:
        queue.put(MESSAGE, "s@x.org", ["here@x.org", "gone@x.org"])
    to = f"maildir:{tmp_path}/{{local}}"
    command = [sys.executable, "-m", "maildir_safe", "work", "--once", "--to", to, spool]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert re.search(r"to=<gone@x\.org> [45]\d\d ", done.stderr)
    assert "here@x.org" not in done.stderr


def test_an_item_shown_on_a_terminal_does_not_steer_it(
    spool: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Queue(spool).put(b"Subject: \x1b[2J\n\nbody\n", "s@x.org", ["a@x.org"])
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["queue", "show", spool, "1"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert r"\x1b[2J" in shown


def test_retry_takes_a_good_item_out_of_corrupt_and_leaves_a_damaged_one(
    spool: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Queue(spool) as queue:
        ident = queue.put(MESSAGE, "s@x.org", ["a@x.org"])
        [listed] = queue.items()
        path = Path(spool, listed.path)
        whole = path.read_bytes()
        path.write_bytes(whole[:20])
        [claim] = queue.claim()
        with pytest.raises(PermanentError, match="20 bytes"):
            claim.read()
        assert main(["queue", "retry", spool, ident]) == 65
        assert main(["queue", "why", spool, ident]) == 0
        assert "damaged: it has 20 bytes" in capsys.readouterr().out
        [listed] = queue.items("corrupt")
        Path(spool, listed.path).write_bytes(whole)
        assert main(["queue", "retry", spool, ident]) == 0
        assert [claim.read() for claim in queue.claim()] == [MESSAGE]
