"""`maildir-safe serve` as a process: flags, config file, workers, retention, and its end."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from smtp_support import COMMAND, Serve, Wire, stored, until, workers_of

from maildir_safe import Maildir
from maildir_safe._cli.serve import sender
from maildir_safe._smtp.backends import retention
from maildir_safe._smtp.server.limits import MemoryBudget, MemoryReservation
from maildir_safe._smtp.server.settings import Settings

MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"


def test_without_any_argument_but_a_port(tmp_path: Path) -> None:
    serve = Serve(tmp_path)
    assert re.search(rf"^Maildir +{tmp_path}/Maildir \(durability full, \w+\)$", serve.banner, re.MULTILINE)
    with serve.client() as client:
        client.sendmail("a@b", ["c@d"], MESSAGE)
    code, log = serve.end()
    assert code == 0
    assert log.count("smtp stored") == 1
    assert len(stored(tmp_path / "Maildir")) == 1


def test_the_line_to_paste_works(tmp_path: Path) -> None:
    serve = Serve(tmp_path)
    line = serve.banner.splitlines()[-1].removeprefix("Try").strip()
    subprocess.run(shlex.split(line), check=True, capture_output=True, timeout=30)
    assert serve.end()[0] == 0
    assert len(stored(tmp_path / "Maildir")) == 1


def test_the_python_line_works_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve = Serve(tmp_path, "--lmtp", f"{tmp_path}/l.sock")
    monkeypatch.setattr("shutil.which", lambda _: None)
    for line in (sender(serve.address), sender(f"{tmp_path}/l.sock", lmtp=True)):
        assert line.startswith("python3 -c")
        subprocess.run(["sh", "-c", line], check=True, timeout=30)
    serve.end()
    messages = stored(tmp_path / "Maildir")
    assert [b"\nSubject: Hello\n\nIt works.\n" in message for message in messages] == [True, True]


def test_lmtp_alone(tmp_path: Path) -> None:
    command = [*COMMAND, "--no-web", "--lmtp", f"{tmp_path}/l.sock"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        banner = [process.stdout.readline() for _ in range(3)]
        assert banner[0] == f"LMTP     {tmp_path}/l.sock\n"
        assert "SMTP " not in banner[1] + banner[2].replace("--protocol LMTP", "")
        process.terminate()
    assert process.returncode == 0


def test_sigterm_finishes_the_message_that_is_being_received(tmp_path: Path) -> None:
    serve = Serve(tmp_path)
    wire = Wire(serve.address)
    wire.ready_for_data()
    wire.send(b"Subject: half\r\n")
    serve.process.send_signal(signal.SIGTERM)
    until(lambda: greeting(serve.address).startswith("421 4.3.2"))
    assert wire.ask(b"\r\nwhole\r\n.").startswith("250")
    assert serve.process.wait(20) == 0
    assert len(stored(tmp_path / "Maildir")) == 1


def greeting(address: str) -> str:
    wire = Wire(address, greeting="")
    wire.close()
    return wire.banner


def test_sigterm_does_not_wait_for_a_storage_that_hangs(tmp_path: Path) -> None:
    (tmp_path / "serve.toml").write_text("grace = 0.2\n")
    (tmp_path / "faults.toml").write_text('[[fault]]\ncall = "write"\ndelay = 600\n')
    serve = Serve(tmp_path, "--config", "serve.toml", "--faults", "faults.toml")
    wire = Wire(serve.address)
    wire.ready_for_data()
    wire.send(b"Subject: x\r\n\r\n.\r\n")
    until(lambda: list((tmp_path / "Maildir" / "tmp").iterdir()))
    code, log = serve.end()
    assert code == 1
    assert "the storage hangs" in log
    assert wire.reply() == ""
    assert list((tmp_path / "Maildir" / "new").iterdir()) == []


def test_workers_share_the_port_and_one_that_dies_is_replaced(tmp_path: Path) -> None:
    serve = Serve(tmp_path, "--workers", "3", "--lmtp", str(tmp_path / "l.sock"))
    children = workers_of(serve, 3)
    for _ in range(20):
        with serve.client() as client:
            client.sendmail("a@b", ["c@d"], MESSAGE)
    os.kill(int(children[0]), signal.SIGKILL)
    assert workers_of(serve, 3, without=children[0])
    wire = Wire(str(tmp_path / "l.sock"))
    assert wire.ask("LHLO x").startswith("250")
    wire.close()
    code, log = serve.end()
    assert code == 0
    assert log.count("smtp stored") == 20
    assert "died; restarting it" in log
    assert len(stored(tmp_path / "Maildir")) == 20
    assert not (tmp_path / "l.sock").exists()


def test_workers_do_not_outlive_their_parent(tmp_path: Path) -> None:
    serve = Serve(tmp_path, "--workers", "2")
    children = workers_of(serve, 2)
    serve.process.kill()
    serve.process.communicate(timeout=20)
    until(lambda: not any(Path(f"/proc/{child}/cmdline").exists() for child in children))


def test_a_config_file_and_a_flag_that_wins(tmp_path: Path) -> None:
    config = tmp_path / "serve.toml"
    config.write_text('maildir = "A"\nmax-size = 1000\nhostname = "a.example"\ntimeout = 5\n')
    serve = Serve(tmp_path, "--config", str(config), "--hostname", "b.example")
    with serve.client() as client:
        client.ehlo()
        assert client.esmtp_features["size"] == "1000"
        client.sendmail("a@b", ["c@d"], MESSAGE)
    serve.end()
    (message,) = stored(tmp_path / "A")
    assert b"by b.example with" in message


def test_mail_survives_kill_9_and_a_stale_socket_does_no_harm(tmp_path: Path) -> None:
    for count in (1, 2):
        serve = Serve(tmp_path, "--lmtp", "./l.sock")
        with serve.client() as client:
            client.sendmail("a@b", ["c@d"], MESSAGE)
        assert serve.end(signal.SIGKILL)[0] == -signal.SIGKILL
        assert len(stored(tmp_path / "Maildir")) == count


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--smtp", "nonsense"], "nonsense: not an address"),
        (["--smtp", "192.0.2.1:0"], "no network interface of this machine"),
        (["/etc/passwd"], "/etc/passwd"),
        (["/nowhere/at/all"], "/nowhere/at/all: cannot be made"),
        (["--map", "mail/{local}"], "an absolute path"),
        (["--postmaster", "a@b"], "postmaster needs map"),
        (["--map", "/m/{local}", "--keep", "3"], "cannot be combined with map"),
        (["--workers", "0"], "workers is 0"),
        (["--faults", "none.toml"], "none.toml"),
        (["--config", "bad.toml"], "no such setting: colour"),
        (["--config", "wrong.toml"], "max_size = '1 MB' is not a whole number"),
        (["--lmtp", "serve.py/"], "serve.py"),
        (["--lmtp", "./bad.toml"], "exists and is not a socket"),
    ],
)
def test_what_cannot_start_says_why(tmp_path: Path, flags: list[str], text: str) -> None:
    (tmp_path / "bad.toml").write_text('colour = "red"\n')
    (tmp_path / "wrong.toml").write_text('max_size = "1 MB"\n')
    flags = flags if "--smtp" in flags else ["--smtp", "127.0.0.1:0", *flags]
    done = subprocess.run(
        [*COMMAND, "--no-web", *flags], cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert text in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "--no-web", "--smtp", f"127.0.0.1:{port}"],
            cwd=tmp_path, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
    assert done.returncode == 1
    assert f"another program listens there (ss -ltnp 'sport = :{port}' shows which)" in done.stderr


def test_what_expires() -> None:
    keys = ["30.M2P1.h", "30.M11P1.h", "10.M1P1.h", "lost+found", "20.P1.h"]
    assert retention.expired(keys, 2, None, now=100) == ["10.M1P1.h", "20.P1.h"]
    assert retention.expired(keys, None, 70, now=100) == ["10.M1P1.h", "20.P1.h"]
    assert retention.expired(keys, 0, None, now=100) == ["10.M1P1.h", "20.P1.h", "30.M2P1.h", "30.M11P1.h"]
    assert retention.expired(keys, 9, 1000, now=100) == []
    assert retention.expired(keys, None, None, now=100) == []


def test_a_directory_that_looks_like_a_message_is_neither_counted_nor_removed(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "m")
    for place in ("cur/10.M1P1.h:2,S", "new/20.M1P1.h"):
        (tmp_path / "m" / place).mkdir()
    kept = maildir.deliver(b"Subject: x\n\n").key
    there = len(os.listdir("/proc/self/fd"))
    assert retention.sweep(maildir, 1, None) == 0
    assert [message.key for message in maildir.messages()] == [kept]
    assert retention.sweep(maildir, 0, None) == 1
    assert (tmp_path / "m/cur/10.M1P1.h:2,S").is_dir()
    assert (tmp_path / "m/new/20.M1P1.h").is_dir()
    assert len(os.listdir("/proc/self/fd")) == there


def test_the_newest_stay(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "Maildir")
    keys = [maildir.deliver(b"x").key for _ in range(5)]
    maildir.set_flags(keys[0], "S")
    serve = Serve(tmp_path, "--keep", "2")
    until(lambda: len(list(maildir.messages())) == 2)
    assert {message.key for message in maildir.messages()} == set(keys[-2:])
    assert serve.end()[0] == 0


def test_settings_have_the_defaults_that_are_documented() -> None:
    defaults = Settings()
    assert defaults.smtp == ["127.0.0.1:1025"]
    assert (defaults.max_size, defaults.max_recipients, defaults.max_connections) == (25 * 2**20, 100, 100)


def test_counts_of_several_workers() -> None:
    budget = MemoryBudget(connections=3, in_flight=100, workers=2)
    budget.use_slot(0)
    assert budget.connect()
    assert budget.take(60)
    budget.use_slot(1)
    assert budget.connect()
    assert budget.connect()
    assert not budget.connect()
    assert not budget.take(41)
    assert budget.take(40)
    assert (budget.connections, budget.in_flight) == (3, 100)
    budget.use_slot(0)  # a new process in the slot of one that died
    assert (budget.connections, budget.in_flight) == (2, 40)


def test_what_is_refused_gives_its_memory_back() -> None:
    budget = MemoryBudget(connections=1, in_flight=100)
    big = MemoryReservation(budget, max_size=50)
    assert [big.add(40), big.add(20), big.add(1)] == [True, False, False]
    assert big.refusal.startswith("552")
    assert budget.in_flight == 0
    first, second = MemoryReservation(budget, max_size=90), MemoryReservation(budget, max_size=90)
    assert first.add(80)
    assert not second.add(30)
    assert second.refusal.startswith("452")
    first.release()
    first.release()
    assert budget.in_flight == 0
