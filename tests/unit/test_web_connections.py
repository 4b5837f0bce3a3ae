"""The page's connections: who is hung up on, and when."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from maildir_safe._web import connections
from maildir_safe._web.connections import BoundedProtocol, limit

LARGE = 64 << 20


async def answer(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    """Something short, something that never ends, or something large."""
    start = {"type": "http.response.start", "status": 200, "headers": []}
    await send(start)
    if scope["path"] == "/forever":
        await asyncio.Event().wait()
    pieces = LARGE >> 16 if scope["path"] == "/large" else 1
    for _ in range(pieces):
        await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class Noted(BoundedProtocol):
    """Notes which connections have ended."""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        _lost.append(self)


_lost: list[BoundedProtocol] = []


@contextlib.asynccontextmanager
async def serving(**limits: float) -> AsyncIterator[int]:
    """A server with these limits; its port."""
    kind = type("Limited", (Noted,), limits)
    config = uvicorn.Config(answer, http=kind, lifespan="off", log_level="critical", ws="none")
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment,method-assign]
    sock = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(server.serve([sock]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield sock.getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        await task


async def ask(port: int, path: str, host: str = "127.0.0.1") -> asyncio.StreamReader:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    _kept.append(writer)
    return reader


_kept: list[asyncio.StreamWriter] = []


async def hung_up(reader: asyncio.StreamReader) -> bool:
    """Whether the server has closed it, once it has."""
    with contextlib.suppress(ConnectionError):
        while await asyncio.wait_for(reader.read(1 << 16), 20):
            pass
    return True


def test_who_says_nothing_is_hung_up_on() -> None:
    async def run() -> None:
        async with serving(first_request=0.2) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTT")
            assert await hung_up(reader)

    asyncio.run(run())


def test_who_reads_nothing_is_hung_up_on() -> None:
    async def run() -> None:
        async with serving(stalled=0.3) as port:
            lost = len(_lost)
            reader = await ask(port, "/large")
            while len(_lost) == lost:
                await asyncio.sleep(0.05)
            got = 0
            with contextlib.suppress(ConnectionError):
                while piece := await reader.read(1 << 20):
                    got += len(piece)
            assert got < LARGE

    asyncio.run(run())


def test_a_long_answer_is_not_an_idle_connection() -> None:
    async def run() -> None:
        async with serving(first_request=2.0) as port:
            reader = await ask(port, "/forever")
            assert await reader.readline()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(), 4.0)

    asyncio.run(run())


def test_one_too_many_closes_one_of_who_has_the_most() -> None:
    async def run() -> None:
        async with serving(most=6) as port:
            quiet = await ask(port, "/forever", "127.0.0.2")
            assert await quiet.readline()
            greedy = [await ask(port, "/forever") for _ in range(8)]
            other = await ask(port, "/", "127.0.0.3")
            assert b"200" in await asyncio.wait_for(other.readline(), 20)
            assert all([await hung_up(reader) for reader in greedy[:3]])
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(quiet.read(), 0.3)

    asyncio.run(run())


def test_the_limit_leaves_descriptors_for_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections.resource, "getrlimit", lambda _: (64, 64))
    assert limit(200) == 16
    monkeypatch.setattr(connections.resource, "getrlimit", lambda _: (65536, 65536))
    assert limit(200) == 200
