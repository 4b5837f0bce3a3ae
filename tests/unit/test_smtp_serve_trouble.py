"""`maildir-safe serve` where something around it is short, hung, gone or wrong: descriptors, mounts, logs."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trustme
from smtp_support import COMMAND, Serve, Wire, listens, serving, stored, until, workers_of

from maildir_safe import Maildir
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._smtp.backends import lanes
from maildir_safe._smtp.server import settings as smtp_settings
from maildir_safe._smtp.server.settings import Settings
from maildir_safe._smtp.server.storage import prepare_storage
from maildir_safe._smtp.server.tls import server_context
from maildir_safe._smtp.server.workers import supervise
from maildir_safe.errors import NotAMaildir

MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"


def test_sighup_ends_nothing(tmp_path: Path) -> None:
    for flags in ((), ("--workers", "2")):
        serve = Serve(tmp_path, *flags)
        for pid in [serve.process.pid, *(int(child) for child in workers_of(serve, 2 if flags else 0))]:
            os.kill(pid, signal.SIGHUP)
        with serve.client() as client:
            client.sendmail("a@b", ["c@d"], MESSAGE)
        code, log = serve.end()
        assert code == 0
        assert "died" not in log


def test_few_descriptors_are_enough(tmp_path: Path) -> None:
    """`ulimit -n 64` and 40 mailboxes: kept Maildirs are given up, and connections limited, with a word."""
    names = [f"box{n}" for n in range(40)]
    (tmp_path / "mail").mkdir()
    for name in names:
        Maildir(tmp_path / "mail" / name)
    serve = Serve(tmp_path, "--map", f"{tmp_path}/mail/{{local}}", limit=64)
    replies = []
    for round_ in range(2):
        clients = [Wire(serve.address) for _ in range(4)]
        for client in clients:
            client.ready_for_data("a@b", *(f"{name}@x" for name in names))
        for client in clients:
            client.send(b"Subject: %d\r\n\r\n.\r\n" % round_)
        replies += [client.reply()[:3] for client in clients]
        for client in clients:
            client.close()
    code, log = serve.end()
    assert replies == ["250"] * 8, log
    assert code == 0
    assert "files open (ulimit -n)" in log
    assert "Traceback" not in log
    assert [len(stored(tmp_path / "mail" / name)) for name in names] == [8] * len(names)


def test_more_connections_than_descriptors_are_told_to_come_later(tmp_path: Path) -> None:
    serve = Serve(tmp_path, limit=64)
    held = [socket.create_connection(("127.0.0.1", int(serve.address.rpartition(":")[2]))) for _ in range(60)]
    said = []
    for sock in held:
        sock.settimeout(20)
        said.append(sock.recv(100)[:3])
        if len(said) < 20:
            continue
        sock.close()
    assert set(said) == {b"220", b"421"}
    for sock in held:
        sock.close()
    code, log = serve.end()
    assert code == 0
    assert "Traceback" not in log


def test_a_spool_that_cannot_be_opened_is_a_line_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "stranger").write_text("x")
    for flags in ((), ("--workers", "2")):
        command = [*COMMAND, "--smtp", "127.0.0.1:0", "--queue", str(tmp_path / "spool"), *flags]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert done.stderr.startswith("maildir-safe serve: ")
        assert "Traceback" not in done.stderr


def test_a_worker_that_cannot_open_the_spool_says_so_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    began = tmp_path / "began"

    def stop() -> None:
        until(lambda: began.exists() and began.stat().st_size > 1)  # the first one has ended
        os.kill(os.getpid(), signal.SIGTERM)

    def work(number: int, parent: socket.socket) -> None:  # noqa: ARG001
        with began.open("a") as file:
            file.write("x")
        raise NotAMaildir("/spool\x1b[2J: Permission denied")

    monkeypatch.setattr("maildir_safe._smtp.server.workers.RESTART_DELAY", 0.0)
    threading.Thread(target=stop).start()
    assert supervise(1, work) == 1
    said = capfd.readouterr().err
    assert "/spool [2J: Permission denied" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("flags", [(), ("--queue", "S")])
def test_the_banner_does_not_promise_durability_on_a_mount_that_takes_no_file(
    tmp_path: Path, flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = tmp_path / ("S" if flags else "Maildir")
    settings = Settings(queue=str(where)) if flags else Settings(maildir=str(where))
    assert "(durability " in prepare_storage(settings)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("maildir_safe._fs.posix.OsFileSystem.create", full)
    assert "durability" not in prepare_storage(settings)
    assert "No space left on device" in prepare_storage(settings)
    assert list((where / "tmp").iterdir()) == []


def test_sigterm_does_not_wait_for_a_look_up_that_hangs(tmp_path: Path) -> None:
    """Python joins all threads at its end; a thread in a dead NFS mount would keep the process for ever."""
    code = (
        "import sys, time\n"
        "from maildir_safe._mailboxes import Mailboxes\n"
        "Mailboxes.find = lambda self, address: (open('looking', 'w').close(), time.sleep(3600))\n"
        "from maildir_safe._cli import main\n"
        "sys.exit(main(['serve', '--no-web', *sys.argv[1:]]))\n"
    )
    (tmp_path / "serve.toml").write_text("grace = 0.2\n")
    (tmp_path / "mail").mkdir()
    flags = ["--config", "serve.toml", "--smtp", f"{tmp_path}/s", "--map", f"{tmp_path}/mail/{{local}}"]
    process = subprocess.Popen([sys.executable, "-c", code, *flags], cwd=tmp_path, stderr=subprocess.PIPE)
    until(lambda: listens(tmp_path / "s"))
    wire = Wire(f"{tmp_path}/s")
    wire.ask("EHLO x")
    assert wire.ask("MAIL FROM:<a@b>").startswith("250")
    wire.send(b"RCPT TO:<c@d>\r\n")
    until(lambda: (tmp_path / "looking").exists())
    process.terminate()
    _, log = process.communicate(timeout=30)
    assert process.returncode == 1
    assert b"the storage hangs" in log


def test_what_a_mount_hangs_on_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mount has threads of its own; one on which something hangs for long takes nothing more."""
    for name in ("hung", "well"):
        (tmp_path / name).mkdir()
        Maildir(tmp_path / name / "bob")
    points = [str(tmp_path / "hung"), "/"]
    monkeypatch.setattr("maildir_safe._smtp.backends.maildir_store.mount_points", lambda: points)
    monkeypatch.setattr(lanes, "THREADS", 2)
    gate = threading.Event()
    open_dir = OsFileSystem.open_dir

    def hanging(self: OsFileSystem, path: str, dir_fd: int | None = None) -> int:
        if path.startswith(str(tmp_path / "hung")):
            gate.wait(60)
        return open_dir(self, path, dir_fd)

    monkeypatch.setattr(OsFileSystem, "open_dir", hanging)
    with serving(tmp_path, map=f"{tmp_path}/{{domain}}/{{local}}") as server:
        try:
            stuck = [Wire(server.service.smtp_addresses[0]) for _ in range(5)]
            for wire in stuck:
                wire.ask("EHLO x")
                wire.ask("MAIL FROM:<a@b>")
                wire.send(b"RCPT TO:<bob@hung>\r\n")
            other = Wire(server.service.smtp_addresses[0])
            other.ready_for_data("a@b", "bob@well")
            assert other.ask(MESSAGE + b".").startswith("250")
            monkeypatch.setattr(lanes, "HANGS", 0.0)
            other.ask("MAIL FROM:<a@b>")
            assert other.ask("RCPT TO:<bob@hung>").startswith("451 4.3.0")
            assert other.ask("RCPT TO:<bob@well>").startswith("250")
        finally:
            gate.set()
        assert [wire.reply()[:3] for wire in stuck] == ["250"] * 5


def _kill_a_worker(parent: int) -> None:
    """And wait for the one that takes its place."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    killed = children.read_text().split()[0]
    os.kill(int(killed), signal.SIGKILL)
    until(lambda: len(now := children.read_text().split()) == 2 and killed not in now)


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path, workers: tuple[str, ...]) -> None:
    """`2>/dev/full`: everything is answered as always, a worker that dies is replaced, the end is orderly."""
    command = [*COMMAND, "--smtp", f"{tmp_path}/s", "--no-web", *workers]
    with Path("/dev/full").open("w") as full:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=full, stderr=full)
    until(lambda: listens(tmp_path / "s"))
    for last in (False, True):
        wire = Wire(f"{tmp_path}/s")
        wire.ready_for_data()
        assert wire.ask(MESSAGE + b".").startswith("250")
        assert wire.ask("RCPT TO:<a@b@c>").startswith("503")
        wire.close()
        if workers and not last:
            _kill_a_worker(process.pid)
    process.terminate()
    assert process.wait(30) in (0, 120)  # 120: Python could not flush standard output
    assert len(stored(tmp_path / "Maildir")) == 2


def test_mail_alone_needs_no_other_package(tmp_path: Path) -> None:
    """Only the page, made certificates and metrics do; without them it starts, up to what is wrong here."""
    code = (
        "import sys\n"
        "for name in ('aiosmtpd', 'starlette', 'uvicorn', 'jinja2', 'prometheus_client', 'trustme'):\n"
        "    sys.modules[name] = None\n"
        "from maildir_safe._cli import main\n"
        "sys.exit(main(['serve', '--smtp', 'nonsense', *sys.argv[1:]]))\n"
    )
    for flags, said in ((["--no-web"], "nonsense: not an address"), ([], "or do without (--no-web)")):
        command = [sys.executable, "-c", code, *flags]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_a_certificate_that_cannot_be_used_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "Inbox").mkdir()
    ca = trustme.CA()
    cert = ca.issue_cert("localhost")
    (tmp_path / "cert.pem").write_bytes(cert.cert_chain_pems[0].bytes())
    (tmp_path / "both.pem").write_bytes(cert.private_key_pem.bytes() + cert.cert_chain_pems[0].bytes())
    for name, words in (
        ("nothing.pem", "No such file or directory"),
        ("cert.pem", "a certificate and its unencrypted key"),
        ("Inbox", "put --tls after"),
    ):
        with pytest.raises(ValueError, match=f"--tls {tmp_path}/{name}: .*{words}"):
            server_context(str(tmp_path / name), "localhost")
    assert server_context(str(tmp_path / "both.pem"), "localhost")[1] is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("smtp = 'x'", "a list of strings"),
        ("max-size = 'x'", "a whole number"),
        ("timeout = 'x'", "a number"),
        ("log-json = 1", "true or false"),
        ("tls = 1", "a string"),
    ],
)
def test_a_setting_of_another_kind_is_said_in_words(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "serve.toml").write_text(line)
    with pytest.raises(ValueError, match=f"is not {words}"):
        smtp_settings.read(str(tmp_path / "serve.toml"))
