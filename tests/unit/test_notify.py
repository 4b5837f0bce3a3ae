"""What `serve` and `work` tell systemd, on a real datagram socket; and sockets that systemd has opened."""

from __future__ import annotations

import asyncio
import os
import signal
import smtplib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from smtp_support import COMMAND, Serve, Wire, stored

from maildir_safe import Queue, TemporaryError, Worker
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._notify import Notifier
from maildir_safe._queue.couriers.courier import DeliveryRequest
from maildir_safe._smtp.server.bind import CannotListen, listen
from maildir_safe._smtp.server.settings import Settings
from maildir_safe._smtp.server.storage import directory_of
from maildir_safe._smtp.server.watchdog import keep_feeding
from maildir_safe.testing.simfs import Fault, SimHost, SimServer

MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"


class Manager:
    """The receiving end, as systemd has it."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(path)
        self.sock.settimeout(60)
        name = path.replace("\0", "@")
        self.environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "200000"}

    def told(self) -> list[str]:
        return self.sock.recv(4096).decode().splitlines()

    def waits_for(self, state: str) -> list[str]:
        """All that comes until `state` has come."""
        states: list[str] = []
        while state not in states:
            states.append(self.told()[0])
        return states

    def nothing(self) -> bool:
        self.sock.setblocking(False)
        try:
            return not self.sock.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.sock.settimeout(60)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(f"{tmp_path}/notify")
    with closing(made.sock):
        yield made


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve_is_ready_works_and_stops(
    tmp_path: Path, manager: Manager, workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in manager.environment.items():
        monkeypatch.setenv(name, value)
    serve = Serve(tmp_path, "--workers", workers)
    states = manager.waits_for("READY=1") + manager.waits_for("WATCHDOG=1") + manager.waits_for("WATCHDOG=1")
    assert {*states} == {"READY=1", "WATCHDOG=1"}
    assert serve.end()[0] == 0
    assert {*manager.waits_for("STOPPING=1")} <= {"WATCHDOG=1", "STOPPING=1"}


def test_stopping_is_told_before_the_message_in_hand_is_finished(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.environment["NOTIFY_SOCKET"])
    serve = Serve(tmp_path)
    wire = Wire(serve.address)
    wire.ready_for_data()
    serve.process.send_signal(signal.SIGTERM)
    manager.waits_for("STOPPING=1")
    assert wire.ask(MESSAGE + b".").startswith("250")
    assert serve.process.wait(60) == 0


def test_work_is_ready_works_and_stops(tmp_path: Path, manager: Manager) -> None:
    with Queue(tmp_path / "spool"):
        pass
    command = [
        sys.executable,
        "-m",
        "maildir_safe",
        "work",
        f"{tmp_path}/spool",
        "--to",
        f"maildir:{tmp_path}/m",
    ]
    with subprocess.Popen(command, env={**os.environ, **manager.environment}) as process:
        ready = manager.told()
        assert ready == ["READY=1", f"STATUS=works {tmp_path}/spool"]
        assert manager.told() == ["WATCHDOG=1", f"STATUS={tmp_path}/spool: delivered 0, deferred 0, failed 0"]
        process.terminate()
        manager.waits_for("STOPPING=1")
    assert process.returncode == 0


def test_work_feeds_no_watchdog_while_the_queue_cannot_be_read() -> None:
    host = SimHost(SimServer("local"))
    with Queue("/spool", fs=host) as queue:
        turns: list[str] = []
        failing = iter([True, True, False, True])

        def claim(*_: object, **__: object) -> list[object]:
            fails = next(failing, None)
            if fails is None:
                worker.stop()
            if fails:
                turns.append("failed")
                raise TemporaryError("the mount is gone")
            return []

        def courier(request: DeliveryRequest) -> dict[str, object]:
            raise AssertionError(request)

        worker = Worker(queue, courier)  # type: ignore[arg-type]
        queue.claim = claim  # type: ignore[method-assign,assignment]
        worker.run(on_turn=lambda: turns.append("turned"))
    assert turns == ["failed", "failed", "turned", "failed", "turned"]


class Hanging(OsFileSystem):
    """Its mount hangs until `answers` is set."""

    def __init__(self) -> None:
        self.asked, self.answers = threading.Event(), threading.Event()

    def open_dir(self, path: str, dir_fd: int | None = None) -> int:
        self.asked.set()
        assert self.answers.wait(60)
        return super().open_dir(path, dir_fd)


def test_serve_feeds_the_watchdog_only_while_the_storage_answers(tmp_path: Path, manager: Manager) -> None:
    fs = Hanging()

    async def watch() -> None:
        feeding = asyncio.create_task(keep_feeding(Notifier(manager.environment), fs, str(tmp_path), "well"))
        await asyncio.to_thread(fs.asked.wait)
        assert manager.nothing()
        fs.answers.set()
        assert await asyncio.to_thread(manager.told) == ["WATCHDOG=1", "STATUS=well"]
        feeding.cancel()

    asyncio.run(watch())


def test_an_error_of_the_storage_is_an_answer_and_in_the_status(manager: Manager) -> None:
    fs = SimHost(SimServer("nfs4"), faults=[Fault("open_dir", 5, match="/mail")])

    async def watch() -> None:
        feeding = asyncio.create_task(keep_feeding(Notifier(manager.environment), fs, "/mail", "well"))
        state = await asyncio.to_thread(manager.told)
        assert state == ["WATCHDOG=1", "STATUS=/mail: Input/output error"]
        feeding.cancel()

    asyncio.run(watch())


def test_an_abstract_socket_and_a_status_of_one_line() -> None:
    manager = Manager(f"\0maildir-safe-test-{os.getpid()}")
    with closing(manager.sock):
        Notifier(manager.environment).ready("a\nMAINPID=1")
        assert manager.told() == ["READY=1", "STATUS=a MAINPID=1"]


def test_without_a_manager_nothing_is_sent_and_one_that_is_gone_does_no_harm(tmp_path: Path) -> None:
    Notifier({}).ready("x")
    Notifier({"NOTIFY_SOCKET": f"{tmp_path}/gone"}).alive("x")
    assert Notifier({"WATCHDOG_USEC": "60000000"}).period == 30


@pytest.mark.parametrize(("settings", "directory"), [
    ({"maildir": "/m"}, "/m"), ({"queue": "/spool", "map": "/x/{local}"}, "/spool"),
    ({"map": "/srv/mail/{domain}/{local}"}, "/srv/mail"), ({"map": "/{local}"}, "/"),
    ({"map": "/srv/u-{local}"}, "/srv"),
])  # fmt: skip
def test_the_directory_that_is_looked_at(settings: dict[str, str], directory: str) -> None:
    assert directory_of(Settings(**settings)) == directory  # type: ignore[arg-type]


def test_a_connection_made_before_the_start_is_served_and_the_socket_outlives_the_service(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        for expected in (1, 2):
            with socket.create_connection(("127.0.0.1", port)) as early:
                command = [*COMMAND, "--no-web", "--smtp", f"fd:{listening.fileno()}"]
                with subprocess.Popen(
                    command, cwd=tmp_path, pass_fds=[listening.fileno()], stdout=subprocess.DEVNULL
                ) as process:
                    early.settimeout(60)
                    assert early.recv(3) == b"220"
                    with smtplib.SMTP("127.0.0.1", port) as client:
                        client.sendmail("a@example.org", ["b@example.org"], MESSAGE)
                    process.terminate()
                assert process.returncode == 0
            assert len(stored(tmp_path / "Maildir")) == expected


def test_a_unix_socket_of_the_manager_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "l.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        command = [*COMMAND, "--no-web", "--lmtp", f"fd:{listening.fileno()}"]
        with subprocess.Popen(
            command, cwd=tmp_path, pass_fds=[listening.fileno()], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            assert process.stdout.readline() == f"LMTP     {path}\n"
            process.stdout.readline()
            process.terminate()
    assert path.exists()


@pytest.mark.parametrize(("address", "why"), [
    ("fd:", "not a descriptor"), ("fd:-1", "not a descriptor"), ("fd:99999", "without such a socket"),
    ("fd:9" + "9" * 30, "without such a socket"),
])  # fmt: skip
def test_a_socket_that_was_not_passed(address: str, why: str) -> None:
    with pytest.raises(CannotListen, match=why):
        listen(address)


def test_a_socket_that_does_not_listen() -> None:
    with socket.socket() as idle:
        with pytest.raises(CannotListen, match="does not listen"):
            listen(f"fd:{idle.fileno()}")
        assert idle.getsockname()  # it remains open, for whoever has it
