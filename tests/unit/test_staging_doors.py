"""Where messages are written first can be chosen at every door that writes messages into Maildirs."""

from __future__ import annotations

import json
import os
import smtplib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from maildir_safe import Maildir, Queue, mailbox
from maildir_safe._cli import main
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._health.trial import MARK
from maildir_safe._queue.couriers.maildir import MaildirCourier
from maildir_safe._queue.worker import Worker
from maildir_safe.contrib.aiosmtpd import MaildirHandler
from tests.smtp_support import until

MAIL = b"Subject: hello\n\nworld\n"
WHERE = {"tmp": {"tmp"}, "new": {"new"}}

RECORDER = """
import os, runpy, sys
from maildir_safe._fs.posix import OsFileSystem
create = OsFileSystem.create
def recorded(fs, name, dir_fd):
    line = os.readlink(f"/proc/self/fd/{dir_fd}") + "/" + name + "\\n"
    fd = os.open(os.environ["RECORD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line.encode())
    os.close(fd)
    return create(fs, name, dir_fd)
OsFileSystem.create = recorded
"""
COMMAND = [sys.executable, "-c", RECORDER + "from maildir_safe._cli import main; sys.exit(main())"]


class Record:
    """The files that were made, by this process and those that it starts."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._file.touch()

    def directories(self) -> set[str]:
        """The subdirectories of Maildirs in which messages were written first."""
        paths = [Path(line) for line in self._file.read_text().splitlines()]
        trials = (MARK, ":", ";")  # of the storage, and of the separator
        boxes = [path for path in paths if not any(word in path.name for word in trials)]
        boxes = [path for path in boxes if "spool" not in path.parts]
        return {path.parent.name for path in boxes if path.parent.name in ("tmp", "new", "cur")}


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    file = tmp_path / "record"
    monkeypatch.setenv("RECORD", str(file))
    found = Record(file)
    namespace: dict[str, object] = {}
    monkeypatch.setattr(OsFileSystem, "create", OsFileSystem.create)  # restored at the end
    exec(RECORDER, namespace)
    return found


def count(path: Path) -> int:
    return len(list(Maildir(path, create=False).messages()))


@pytest.mark.parametrize("staging", WHERE)
@pytest.mark.parametrize("folder", [[], ["-m", "Sub"]])
def test_deliver(tmp_path: Path, record: Record, staging: str, folder: list[str]) -> None:
    words = ["deliver", "--staging", staging, *folder, str(tmp_path / "m")]
    subprocess.run([*COMMAND, *words], input=MAIL, check=True)
    assert record.directories() == WHERE[staging]


def test_deliver_says_that_a_place_is_none(tmp_path: Path) -> None:
    words = ["deliver", "--staging=cur", str(tmp_path / "m")]
    done = subprocess.run([*COMMAND, *words], input=MAIL, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (75, b"")
    assert done.stderr == b"4.3.5 --staging is 'cur', but must be tmp or new\n"
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("staging", WHERE)
@pytest.mark.parametrize("how", ["one", "map", "split", "file"])
def test_serve(tmp_path: Path, record: Record, staging: str, how: str) -> None:
    (tmp_path / "serve.toml").write_text(f'staging = "{staging}"\nmaildir = "{tmp_path}/b"\n')
    Maildir(tmp_path / "b")
    where = {
        "one": [str(tmp_path / "b"), "--staging", staging],
        "map": ["--map", f"{tmp_path}/{{local}}", "--staging", staging],
        "split": [str(tmp_path / "s"), "--split", "{local}", "--staging", staging],
        "file": ["--config", str(tmp_path / "serve.toml")],
    }[how]
    words = [*COMMAND, "serve", "--smtp", "127.0.0.1:0", "--no-web", *where]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            lines = [process.stdout.readline()]
            assert lines[0].startswith("SMTP"), lines
            with smtplib.SMTP(lines[0].split()[1]) as client:
                client.sendmail("a@example.com", ["b@example.com"], MAIL)
        finally:
            process.terminate()
    assert count(tmp_path / ("s/b" if how == "split" else "b")) == 1
    assert record.directories() == WHERE[staging]


def test_serve_with_a_queue_has_no_maildir_to_write_into(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--queue", str(tmp_path / "spool"), "--staging", "new"]) == 1
    assert "staging is for Maildirs: with queue, give it to the worker" in capsys.readouterr().err


@pytest.mark.parametrize("staging", WHERE)
@pytest.mark.parametrize("template", ["one", "{local}"])
def test_work(tmp_path: Path, record: Record, staging: str, template: str) -> None:
    """An item with one recipient is moved; one with two is copied, and a copy is written somewhere first."""
    queue = Queue(tmp_path / "spool")
    queue.put(MAIL, "s@example.com", ["one@example.com", "two@example.com"])
    for name in ("one", "two"):
        Maildir(tmp_path / name)
    words = ["work", str(tmp_path / "spool"), "--to", f"maildir:{tmp_path}/{template}", "--once"]
    assert main([*words, "--staging", staging]) == 0
    assert count(tmp_path / "one") + count(tmp_path / "two") == 2
    assert record.directories() == WHERE[staging]


def test_work_without_a_maildir_has_nothing_to_choose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Queue(tmp_path / "spool")
    words = ["work", str(tmp_path / "spool"), "--staging", "new", "--to", "smtp://127.0.0.1:9", "--once"]
    assert main(words) == 64
    assert "--staging is for Maildirs" in capsys.readouterr().err
    assert main([*words, "--bounces-to", f"maildir:{tmp_path}/bounces"]) == 0


@pytest.mark.parametrize("staging", WHERE)
def test_bench(
    tmp_path: Path, record: Record, staging: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from maildir_safe._bench import cases, runner

    monkeypatch.setattr(runner, "CASES", [cases.CASES[0], cases.CASES[7], cases.CASES[13]])
    monkeypatch.setattr(runner, "FILLED", (10,))
    monkeypatch.setattr(runner, "ROUNDS", (1, 1))
    monkeypatch.setattr(runner, "ROUND_SECONDS", 0.01)
    assert main(["bench", str(tmp_path), "--staging", staging, "--json", "-"]) == 0
    (mount,) = json.loads(capsys.readouterr().out)["mounts"]
    assert [case["error"] for case in mount["cases"]] == [""] * 3
    assert record.directories() == WHERE[staging]


@pytest.mark.parametrize("staging", WHERE)
def test_torture(
    tmp_path: Path, record: Record, staging: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def command(module: str, *words: object) -> list[str]:
        run = f"sys.argv[1:] = {[*map(str, words)]}; runpy.run_module({module!r}, None, '__main__')"
        return [sys.executable, "-c", RECORDER + run]

    monkeypatch.setattr("maildir_safe._check.torture_process.command", command)
    words = ["torture", str(tmp_path), "--staging", staging, "--minutes", "0.01", "--writers", "1", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["acknowledged"]
    assert record.directories() == WHERE[staging]


def test_the_worker_of_torture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Maildir of a tortured queue is opened with the same choice."""
    from maildir_safe._check import torture_worker

    opened: list[object] = []

    def recorded(path: str, create: bool, staging: str | None) -> Maildir:
        opened.append(staging)
        return Maildir(path, create=create, staging=staging)

    Queue(tmp_path / "spool")
    Maildir(tmp_path / "maildir")
    monkeypatch.setattr(torture_worker, "Maildir", recorded)
    monkeypatch.setattr(os, "getppid", iter([1, 2]).__next__)  # no turn: the parent has ended
    torture_worker.work(str(tmp_path), "1", "30", "alone", "new")
    assert opened == ["new"]


def _drop_in(path: Path, staging: str) -> None:
    box = mailbox.Maildir(path, staging=staging)
    key = box.add(MAIL)
    box[key] = MAIL
    box.add_folder("Sub").add(MAIL)
    box.get_folder("Sub").add(MAIL)


def _courier(path: Path, staging: str) -> None:
    queue = Queue(path.parent / "spool")
    queue.put(MAIL, "s@example.com", ["one@example.com", "two@example.com"])
    Maildir(path)
    Worker(queue, MaildirCourier(lambda _: [str(path)], staging=staging)).run_once()
    assert count(path) == 2


def _handler(path: Path, staging: str) -> None:
    MaildirHandler(str(path), staging=staging)._maildir.deliver(MAIL)


PYTHON: dict[str, Callable[[Path, str], None]] = {
    "drop-in": _drop_in, "courier": _courier, "aiosmtpd": _handler,
    "folder": lambda path, staging: Maildir(path, staging=staging).folder("Sub").deliver(MAIL) and None,
}  # fmt: skip


@pytest.mark.parametrize("staging", WHERE)
@pytest.mark.parametrize("door", PYTHON)
def test_python(tmp_path: Path, record: Record, door: str, staging: str) -> None:
    PYTHON[door](tmp_path / "m", staging)
    assert record.directories() == WHERE[staging]


def test_the_fixture(tmp_path: Path, record: Record) -> None:
    from maildir_safe.testing.smtp_fixture import MaildirSmtp

    with MaildirSmtp(tmp_path, staging="new") as server:
        with smtplib.SMTP(server.host, server.port) as client:
            client.sendmail("a@example.com", ["b@example.com"], MAIL)
        until(lambda: server.messages)
    assert record.directories() == {"new"}
