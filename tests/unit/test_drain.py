"""SIGTERM: what was accepted is finished, and everybody else is sent elsewhere with 421."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from smtp_support import COMMAND, Serve, Wire, hung_up, stored, workers_of

from maildir_safe import Queue
from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._queue.couriers.courier import DeliveryRequest
from maildir_safe._queue.worker import Worker
from maildir_safe._smtp.server.server import turn_away

GOODBYE = "421 4.3.2"


def greeting(address: str) -> str:
    wire = Wire(address, greeting="")
    wire.close()
    return wire.banner


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_drains(tmp_path: Path, workers: str) -> None:
    flags = ("--workers", workers, "--metrics", "127.0.0.1:0", "--lmtp", f"{tmp_path}/l")
    serve = Serve(tmp_path, *flags)
    workers_of(serve, 0 if workers == "1" else 2)
    ready = serve.told("Health")
    idle, between, busy = Wire(serve.address), Wire(f"{tmp_path}/l"), [Wire(serve.address) for _ in range(8)]
    assert between.ask("LHLO c").startswith("250")
    assert between.ask("MAIL FROM:<a@b>").startswith("250")
    for wire in busy:  # of each worker there is one, in all likelihood
        wire.ready_for_data()
        wire.send(b"Subject: half\r\n")
    serve.process.send_signal(signal.SIGTERM)
    for wire in (idle, between):
        assert wire.reply().startswith(GOODBYE)
        assert hung_up(wire)
    assert greeting(serve.address).startswith(GOODBYE)
    if workers == "1":  # of several, the one that answers may be done already
        with pytest.raises(urllib.error.HTTPError) as answer:
            urllib.request.urlopen(ready, timeout=20)
        with answer.value as body:
            assert (answer.value.code, body.read()) == (503, b"shutting down\n")
    for wire in busy:
        assert wire.ask(b"\r\nwhole\r\n.").startswith("250")
        assert wire.reply().startswith(GOODBYE)
        wire.close()
    code, log = serve.process.wait(30), serve.log.read_text()
    assert code == 0, log
    assert len(stored(tmp_path / "Maildir")) == len(busy)


def test_clients_that_wait_when_the_listener_is_closed_are_answered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        clients = [socket.create_connection(listener.getsockname(), timeout=20) for _ in range(3)]
        turn_away(listener)
    for client in clients:
        with client:
            assert client.recv(100).startswith(GOODBYE.encode())


def test_clients_of_a_socket_that_the_service_manager_keeps_wait_for_the_next_process(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"

        def start() -> subprocess.Popen[str]:
            command = [*COMMAND, "M", "--no-web", "--smtp", f"fd:{listener.fileno()}"]
            process = subprocess.Popen(
                command, cwd=tmp_path, pass_fds=[listener.fileno()], stdout=subprocess.PIPE, text=True
            )
            assert process.stdout
            assert process.stdout.readline().startswith("SMTP ")
            return process

        first = start()
        busy, idle = Wire(address), Wire(address)
        busy.ready_for_data()
        first.send_signal(signal.SIGTERM)
        assert idle.reply().startswith(GOODBYE)  # from now on it accepts nobody
        greetings: list[str] = []
        waiting = threading.Thread(target=lambda: greetings.append(greeting(address)))
        waiting.start()
        assert busy.ask(b"Subject: x\r\n\r\n.").startswith("250")
        assert first.wait(30) == 0
        second = start()
        waiting.join(30)
        assert greetings[0].startswith("220")
        second.terminate()
        assert second.wait(30) == 0
        for process in (first, second):
            assert process.stdout
            process.stdout.close()


def test_a_worker_that_ends_releases_what_it_has_not_finished(tmp_path: Path) -> None:
    with Queue(tmp_path / "S") as queue:
        for number in range(2):
            queue.put(b"Subject: x\n\n", "", [f"{number}@x.org"])
        begun, go_on = threading.Semaphore(0), threading.Event()

        def hangs(request: DeliveryRequest) -> dict[str, RecipientStatus]:
            begun.release()
            go_on.wait(60)
            return {who: RecipientStatus(250, "2.0.0 done") for who in request.recipients}

        worker = Worker(queue, hangs)
        thread = threading.Thread(target=worker.run, args=(0.1,))
        thread.start()
        for _ in range(2):
            assert begun.acquire(timeout=60)
        worker.stop()
        thread.join(60)
        assert not thread.is_alive()
        states = [listed.state for listed in queue.items()]
        go_on.set()
        assert states == ["pending", "pending"]
