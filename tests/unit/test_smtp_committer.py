"""The committer: with many clients a process stores, and no promise depends on that process."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from maildir_safe import Maildir, Queue
from maildir_safe._delivery.attempt import syncfs_reports_errors
from maildir_safe._delivery.dsn import Dsn
from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._mailboxes import Mailboxes, open_as_owner
from maildir_safe._smtp.backends import committer
from maildir_safe._smtp.backends.committer import Committers
from maildir_safe._smtp.backends.committer_process import (
    AT_ONCE,
    GIVEN_BACK,
    STORED,
    UNKNOWN,
    Times,
    ToMaildirs,
    packed,
    unpacked,
)
from maildir_safe._smtp.backends.maildir_store import MaildirStore
from maildir_safe._smtp.backends.queue_store import QueueStore
from maildir_safe._smtp.backends.routing import CatchAll
from maildir_safe._smtp.backends.store import MailObject, Recipient
from maildir_safe._smtp.faults.faults import Faults
from maildir_safe._smtp.server.counters import Counters
from maildir_safe.errors import UnknownOutcome
from tests.smtp_support import Serve, Wire, serving, stored, until

BODY = b"Subject: %d\n\nText\n"

Store = MaildirStore | QueueStore


@pytest.fixture
def local(tmp_path: Path) -> None:
    """Only a file system with an honest syncfs gets a committer."""
    if not syncfs_reports_errors(Maildir(tmp_path / "probe").directories().fstype):
        pytest.skip("no syncfs here")


def store_of(path: Path, counters: Counters | None = None, private: bool = False) -> MaildirStore:
    routing = CatchAll(str(path))
    routing.test_mode = not private
    boxes = Mailboxes(routing.candidates, lambda where: open_as_owner(where, OsFileSystem()))
    return MaildirStore(routing, boxes, committers=Committers(counters or Counters()))


def mail(path: Path, number: int, size: int = 0, envelope_id: str | None = None) -> MailObject:
    body = BODY % number + b"x" * size
    to = [Recipient("b@example.com", str(path))]
    return MailObject("a@example.com", to, b"Received: here\n", [body], envelope_id)


async def together(store: Store, path: Path, numbers: range, **more: Any) -> list[RecipientStatus]:
    found = await asyncio.gather(*[store.store(mail(path, number, **more)) for number in numbers])
    return [status for statuses in found for status in statuses]


def committers_of(store: Store) -> dict[str, committer.Committer]:
    assert store._committers is not None
    return store._committers._ready


async def with_committer(store: Store, path: Path) -> subprocess.Popen[bytes]:
    """Store until a committer is there; returns its process."""
    number = 1_000_000
    end = time.monotonic() + 60
    while not committers_of(store):
        assert time.monotonic() < end
        await together(store, path, range(number, number + 20))
        number += 20
        await asyncio.sleep(0.02)
    (one,) = committers_of(store).values()
    return one._process


async def killed_with(store: Store, path: Path, count: int) -> list[RecipientStatus]:
    """Stop the committer, send so many messages one after another, and kill it; the answers to them.

    The first `AT_ONCE` are batches that it has; what waits behind them never left the server.
    """
    (one,) = committers_of(store).values()
    os.kill(one._process.pid, signal.SIGSTOP)
    sent = []
    for number in range(count):
        sent.append(asyncio.ensure_future(store.store(mail(path, number))))
        while len(one._batches) + len(one._waiting) <= number:
            await asyncio.sleep(0.01)
        while len(one._batches) < min(number + 1, AT_ONCE):
            await asyncio.sleep(0.01)
    os.kill(one._process.pid, signal.SIGKILL)
    return [status for statuses in await asyncio.gather(*sent) for status in statuses]


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def by_process(statuses: list[RecipientStatus]) -> set[int]:
    """The processes that made the names of messages."""
    found = [re.search(r"/new/\d+\.M\d+P(\d+)Q", status.stored) for status in statuses]
    return {int(match[1]) for match in found if match}


@pytest.mark.usefixtures("local")
def test_a_crowd_gets_a_committer_and_each_message_is_stored_and_answered(tmp_path: Path) -> None:
    path, counters = tmp_path / "M", Counters()
    Maildir(path)

    async def main() -> None:
        store = store_of(path, counters)
        process = await with_committer(store, path)
        before, fsyncs = len(os.listdir(path / "new")), counters.fsync_seconds[0][-1]
        statuses = await together(store, path, range(300))
        assert [status.code for status in statuses] == [250] * 300
        assert by_process(statuses) == {process.pid}
        assert {status.durability for status in statuses} == {"full"}
        assert len({status.stored for status in statuses}) == 300
        assert len(os.listdir(path / "new")) == before + 300
        for number, status in enumerate(statuses):
            text = Path(status.stored).read_bytes()
            assert text.startswith(
                b"Return-Path: <a@example.com>\nDelivered-To: b@example.com\nReceived: here\n"
            )
            assert text.endswith(BODY % number)
            assert f"Stored as {Path(status.stored).name}" in status.text
        assert counters.fsync_seconds[0][-1] > fsyncs
        store.close()
        assert await asyncio.to_thread(process.wait, 20) == 0

    run(main)
    assert not list((path / "tmp").iterdir())


@pytest.mark.usefixtures("local")
def test_few_clients_get_none(tmp_path: Path) -> None:
    path = tmp_path / "M"
    Maildir(path)

    async def main() -> None:
        store = store_of(path)
        for number in range(30):
            await together(store, path, range(number, number + committer.CROWD - 1))
        assert not committers_of(store)
        assert store._committers is not None
        assert not store._committers._starting

    run(main)


@pytest.mark.usefixtures("local")
def test_mail_for_many_maildirs_is_for_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [Path(Maildir(tmp_path / f"M{number}").path) for number in range(20)]
    deliver, all_but_one = Maildir.deliver_async, asyncio.Barrier(19)

    async def held(maildir: Maildir, *args: Any, **options: Any) -> Any:
        """None is over before the last has begun, however slow this machine is."""
        if maildir.path != str(paths[0]):
            await asyncio.wait_for(all_but_one.wait(), 60)
        return await deliver(maildir, *args, **options)

    monkeypatch.setattr(Maildir, "deliver_async", held)

    async def main() -> None:
        store = store_of(paths[0])
        await with_committer(store, paths[0])
        _, *others = await asyncio.gather(*[store.store(mail(path, 1)) for path in paths])
        assert by_process([status for statuses in others for status in statuses]) == {os.getpid()}
        assert [len(stored(path)) for path in paths[1:]] == [1] * 19
        store.close()

    run(main)


@pytest.mark.usefixtures("local")
def test_what_it_had_when_it_died_is_unknown_and_later_mail_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "M"
    Maildir(path)

    async def main() -> None:
        store = store_of(path)
        await with_committer(store, path)
        before = len(os.listdir(path / "new"))
        answers = await killed_with(store, path, AT_ONCE)
        lost = [status for status in answers if status.code != 250]
        assert lost
        assert {status.reply for status in lost} == {"451 4.3.0 Storage is not available, try again later"}
        assert "has died" in lost[0].error
        assert len(os.listdir(path / "new")) == before + len(answers) - len(lost)
        again = await together(store, path, range(50))
        assert [status.code for status in again] == [250] * 50
        assert by_process(again) == {os.getpid()}
        store.close()

    run(main)


@pytest.mark.usefixtures("local")
def test_what_waits_when_it_dies_is_stored_by_the_threads(tmp_path: Path) -> None:
    path = tmp_path / "M"
    Maildir(path)

    async def main() -> None:
        store = store_of(path)
        await with_committer(store, path)
        answers = await killed_with(store, path, AT_ONCE + 5)
        assert [status.code for status in answers] == [451] * AT_ONCE + [250] * 5
        store.close()

    run(main)


@pytest.mark.usefixtures("local")
def test_an_error_is_answered_as_without_a_committer(tmp_path: Path) -> None:
    path = tmp_path / "M"
    Maildir(path)

    async def main() -> None:
        store = store_of(path)
        await with_committer(store, path)
        os.rename(path, tmp_path / "elsewhere")
        await asyncio.sleep(5.2)  # the path is looked up again
        statuses = await together(store, path, range(20))
        assert {status.code for status in statuses} == {451}
        assert {status.text for status in statuses} == {"4.2.0 Mailbox is not available, try again later"}
        os.rename(tmp_path / "elsewhere", path)
        assert {status.code for status in await together(store, path, range(20))} == {250}
        store.close()

    run(main)


@pytest.mark.usefixtures("local")
def test_a_quota_holds(tmp_path: Path) -> None:
    path = tmp_path / "M"
    Maildir(path)

    async def main() -> None:
        store = store_of(path, private=True)
        process = await with_committer(store, path)
        assert by_process(await together(store, path, range(20))) == {process.pid}
        sizes = [file.stat().st_size for file in (path / "new").iterdir()]
        used = sum(sizes)
        (path / "maildirsize").write_text(f"{used + 50_000}S\n{used} {len(sizes)}\n")
        statuses = await together(store, path, range(20), size=60_000)
        assert {status.reply for status in statuses} == {"452 4.2.2 Mailbox is full, try again later"}
        assert {status.code for status in await together(store, path, range(3))} == {250}
        store.close()

    run(main)


@pytest.mark.usefixtures("local")
def test_large_messages_and_those_with_an_id_are_not_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "M"
    Maildir(path)

    async def main() -> None:
        store = store_of(path)
        await with_committer(store, path)
        large = await together(store, path, range(3), size=committer.LARGEST)
        named = await together(store, path, range(3), envelope_id="once")
        for statuses in (large, named):
            assert [status.code for status in statuses] == [250] * 3
            assert by_process(statuses) == {os.getpid()}
        store.close()

    run(main)


@pytest.mark.usefixtures("local")
def test_one_that_cannot_start_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "M"
    Maildir(path)
    tries = []

    def nothing(*words: str) -> list[str]:
        tries.append(words)
        return ["/bin/false"]

    monkeypatch.setattr(committer, "command", nothing)

    async def main() -> None:
        store = store_of(path)
        for number in range(5):
            statuses = await together(store, path, range(number * 20, number * 20 + 20))
            assert [status.code for status in statuses] == [250] * 20
            await asyncio.sleep(0.05)
        assert len(tries) == 1  # and not again for some time
        assert not committers_of(store)
        store.close()

    run(main)


@pytest.mark.usefixtures("local")
def test_it_ends_when_nothing_comes_and_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "M"
    Maildir(path)
    monkeypatch.setattr(committer, "IDLE", 0.2)
    monkeypatch.setattr(committer, "_AGAIN", 0.0)

    async def main() -> None:
        store = store_of(path)
        first = await with_committer(store, path)
        assert await asyncio.to_thread(first.wait, 20) == 0
        while committers_of(store):
            await asyncio.sleep(0.01)
        second = await with_committer(store, path)
        assert second.pid != first.pid
        store.close()

    run(main)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.usefixtures("local")
def test_as_root_it_stores_as_the_owner() -> None:
    with tempfile.TemporaryDirectory(prefix="maildir-safe-committer-") as top:
        os.chmod(top, 0o755)
        _stores_as_the_owner(Path(top) / "M")


def _stores_as_the_owner(path: Path) -> None:
    Maildir(path)
    for place in (path, *path.iterdir()):
        os.chown(place, 1234, 1234)

    async def main() -> None:
        store = store_of(path)
        process = await with_committer(store, path)
        statuses = await together(store, path, range(20))
        assert by_process(statuses) == {process.pid}
        found = [os.stat(status.stored) for status in statuses]
        assert {(one.st_uid, one.st_gid, stat.S_IMODE(one.st_mode)) for one in found} == {(1234, 1234, 0o600)}
        store.close()

    run(main)


def load(address: str, connections: int, messages: int, until_true: Callable[[], object]) -> int:
    """Send over many connections at once until something holds; returns how many were acknowledged."""
    wires = [Wire(address) for _ in range(connections)]
    for wire in wires:
        assert wire.ask("EHLO client").startswith("250")
    sent, end = 0, time.monotonic() + 60
    while sent < messages or not until_true():
        assert time.monotonic() < end
        for wire in wires:
            wire.send(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
        for wire in wires:
            assert [wire.reply()[:3] for _ in range(3)] == ["250", "250", "354"]
        for wire in wires:
            wire.send(b"Subject: x\r\n\r\nText\r\n.\r\n")
        for wire in wires:
            assert wire.reply().startswith("250 2.0.0 Stored as ")
            sent += 1
    for wire in wires:
        wire.close()
    return sent


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def ignores(pid: int, number: int) -> bool:
    ignored = Path(f"/proc/{pid}/status").read_text().partition("SigIgn:")[2].split()[0]
    return bool(int(ignored, 16) >> (number - 1) & 1)


@pytest.mark.usefixtures("local")
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_its_server_and_not_by_a_signal_of_its_own(tmp_path: Path, end: int) -> None:
    serve = Serve(tmp_path)
    sent = load(serve.address, 16, 64, lambda: children(serve.process.pid))
    (process,) = children(serve.process.pid)
    until(lambda: ignores(process, signal.SIGTERM))
    os.kill(process, signal.SIGTERM)  # as systemd does to all processes of a service
    sent += load(serve.address, 16, 64, lambda: True)
    assert children(serve.process.pid) == [process]
    serve.end(end)
    until(lambda: not Path(f"/proc/{process}/cwd").exists())
    assert len(stored(tmp_path / "Maildir")) == sent


@pytest.mark.usefixtures("local")
def test_scripted_faults_are_played_without_one(tmp_path: Path) -> None:
    (tmp_path / "faults").write_text('[[fault]]\nstage = "mail"\nnth = 100000\nreply = "451 4.3.0 No"\n')
    with serving(tmp_path, Faults.read(str(tmp_path / "faults"))) as server:
        load(server.service.smtp_addresses[0], 16, 200, lambda: True)
        assert not [child for child in children(os.getpid()) if b"committer" in _command(child)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def queue_store(path: Path) -> QueueStore:
    queue = Queue(path, shared=False)
    return QueueStore(queue, None, committers=Committers(Counters()))


def in_spool(path: Path) -> list[bytes]:
    """The items of a spool, envelope and message."""
    return [file.read_bytes() for file in (path / "pending").glob("*/*")]


@pytest.mark.usefixtures("local")
def test_into_a_queue_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "spool"

    async def main() -> None:
        store = queue_store(path)
        process = await with_committer(store, path)
        before = len(list((path / "pending").glob("*/*")))
        with monkeypatch.context() as patch:
            patch.setattr(Queue, "put_async", None)  # what this process itself would call
            statuses = await together(store, path, range(100))
        assert [status.code for status in statuses] == [250] * 100
        assert len({status.stored for status in statuses}) == 100
        assert len(list((path / "pending").glob("*/*"))) == before + 100
        reported = mail(path, 7)
        reported.dsn = Dsn("HDRS", "")
        assert [status.code for status in await store.store(reported)] == [250]
        os.kill(process.pid, signal.SIGSTOP)
        answer = asyncio.ensure_future(store.store(mail(path, 8)))
        (one,) = committers_of(store).values()
        while not one._batches:
            await asyncio.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        assert [status.code for status in await answer] == [451]
        assert {status.code for status in await together(store, path, range(200, 220))} == {250}
        store.close()

    run(main)
    items = in_spool(path)
    envelope = b"Return-Path: <a@example.com>\nDelivered-To: b@example.com\nReceived: here\nSubject: "
    assert sum(item.startswith(envelope) for item in items) == len(items) - 1  # one asks for a report
    found = [int(text.partition(b"Subject: ")[2].split()[0]) for text in items]
    assert sorted(number for number in found if number < 1_000_000) == sorted(
        [*range(100), 7, *range(200, 220)]
    )


def test_the_process_tells_stored_from_given_back_and_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Maildir(tmp_path / "M")
    process = ToMaildirs(Times())
    here, nowhere = str(tmp_path / "M"), str(tmp_path / "N")
    results = process.store(
        [(here, (b"A: 1\n\n",), -1), (nowhere, (b"A: 2\n\n",), -1), (here, (b"A: 3\n\n",), 6)]
    )
    assert [result[0] for result in results] == [STORED, GIVEN_BACK, STORED]
    assert stored(tmp_path / "M") == [b"A: 1\n\n", b"A: 3\n\n"]

    def lost(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(Maildir, "deliver_many", lost)
    assert process.store([(here, (b"A: 4\n\n",), -1)]) == [(UNKNOWN, "ValueError: a bug", None)]
    with pytest.raises(UnknownOutcome):
        raise UnknownOutcome(*process.store([(here, (b"A: 4\n\n",), -1)])[0][1:])


def test_frames_may_come_in_any_pieces() -> None:
    frames = [[1, [("stored", "k", "full", 3, 1)]], [2, []], [3, [("given back",)]]]
    data = b"".join(packed(frame) for frame in frames)
    for step in (1, 2, 3, 7, len(data)):
        buffer, found = bytearray(), []
        for at in range(0, len(data), step):
            buffer += data[at : at + step]
            found += unpacked(buffer)
        assert found == frames
        assert not buffer
