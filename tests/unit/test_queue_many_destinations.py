"""A relay to 1,000 domains: 10 servers take the connection and never say a word, the others get all mail."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from maildir_safe import Queue, Worker
from maildir_safe._queue.couriers import idle_connections
from maildir_safe._queue.couriers.mx import MxCourier
from maildir_safe._queue.destinations import MOST_SLOW

DOMAINS, HANGING, CONCURRENCY = 1000, 10, 10
OTHER_THREADS = 6  # this one, the servers', the leases', the idle connections', and two to spare
REPLIES = {"EHLO": "250 me", "DATA": "354 go", "QUIT": "221 bye"}


def address_of(number: int) -> str:
    return f"127.1.{number // 200}.{number % 200 + 1}"


class Servers:
    """One program that is the server of every domain, each at an address of its own.

    Attributes:
        taken: how many messages each address has taken.
        threads: most threads of this process, the relay's among them.
    """

    def __init__(self, hanging: set[str]) -> None:
        self._hanging = hanging
        self.taken: dict[str, int] = {}
        self.threads = 0
        self.loop = asyncio.new_event_loop()
        self.released = asyncio.Event()
        started = asyncio.start_server(self._serve, "0.0.0.0", 0)
        self._server = self.loop.run_until_complete(started)
        self.port = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.threads = max(self.threads, threading.active_count())
        try:
            await self._talk(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here = writer.get_extra_info("sockname")[0]
        if here in self._hanging:
            await self.released.wait()
            return
        writer.write(b"220 me\r\n")
        while line := await reader.readline():
            verb = line.decode().split()[0].upper()
            writer.write(f"{REPLIES.get(verb, '250 ok')}\r\n".encode())
            if verb == "QUIT":
                return
            if verb == "DATA":
                await reader.readuntil(b"\r\n.\r\n")
                writer.write(b"250 taken\r\n")
                self.taken[here] = self.taken.get(here, 0) + 1

    def release(self) -> None:
        """Let the servers that hang end their connections."""
        self.loop.call_soon_threadsafe(self.released.set)

    def close(self) -> None:
        self.release()
        self.loop.call_soon_threadsafe(self._server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()


class Resolver:
    """Names the server of ``dNUMBER.example``."""

    def resolve(self, name: str, *_: object, **__: object) -> list[Any]:
        return [SimpleNamespace(preference=0, exchange=address_of(int(name.partition(".")[0][1:])))]


class Connections:
    """Counts the connections of the relay that are open. `most`: at a time."""

    def __init__(self) -> None:
        self.most = 0
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._connect = socket.create_connection

    def __call__(self, *words: Any) -> socket.socket:
        made = self._connect(*words)
        with self._lock:
            self._open = [one for one in (*self._open, made) if one.fileno() >= 0]
            self.most = max(self.most, len(self._open))
        return made


@pytest.fixture(name="connections")
def _connections(monkeypatch: pytest.MonkeyPatch) -> Connections:
    """Those that are idle do not end for their age, however fast or slow this machine is."""
    monkeypatch.setattr(idle_connections, "IDLE_FOR", 3600.0)
    counted = Connections()
    monkeypatch.setattr(socket, "create_connection", counted)
    return counted


@pytest.fixture(name="servers")
def _servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    monkeypatch.setattr("maildir_safe._queue.couriers.mx.is_of_this_machine", lambda _: False)
    servers = Servers({address_of(number) for number in range(HANGING)})
    yield servers
    servers.close()


@pytest.mark.timeout(1800)
def test_ten_servers_that_hang_hold_up_none_of_the_others(
    servers: Servers, connections: Connections, tmp_path: Path
) -> None:
    """The ten hang until all others have their mail: no time-out helps.

    A message on its way has a thread and a connection: `concurrency` of them, and those that are slow, which
    no longer occupy a slot; on a machine that is slow these are more than the ten. A thread may still be
    ending when the next one has its slot. Other connections are idle, with one limit for all servers and
    one thread that ends them.
    """
    with Queue(tmp_path / "spool") as queue:
        queue.put_many(
            [(b"Subject: x\n\nx\n", "a@b.example", [f"c@d{number}.example"]) for number in range(DOMAINS)]
        )
        courier = MxCourier("us.example", timeout=1500, port=servers.port, resolver=Resolver())
        worker = Worker(queue, courier, concurrency=CONCURRENCY)
        began, took = time.monotonic(), 0.0

        def look() -> None:
            nonlocal took
            if worker.delivered == DOMAINS - HANGING and not took:
                took = time.monotonic() - began
                worker.stop()
                servers.release()

        worker.run(on_turn=look)
        left = sorted(entry.item.tries for entry in queue.items())
    figures = f"{took:.1f} s, {connections.most} connections, {servers.threads} threads"
    print(f"\n{worker.delivered} of {DOMAINS} in {figures}")
    assert connections.most <= CONCURRENCY + MOST_SLOW + idle_connections.MOST_IDLE
    assert servers.threads <= 2 * CONCURRENCY + MOST_SLOW + OTHER_THREADS
    assert servers.taken == {address_of(number): 1 for number in range(HANGING, DOMAINS)}
    assert len(left) == HANGING
