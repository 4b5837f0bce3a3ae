"""`Queue.put_async`: each call returns when its item is durable, and many at once share fsyncs."""

from __future__ import annotations

import asyncio
import io
import re
import time
from pathlib import Path

import pytest

from maildir_safe import Queue
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._smtp.faults.faults import Faults
from maildir_safe._smtp.faults.faulty_fs import FaultyFileSystem
from maildir_safe.errors import PermanentError, TemporaryError

DOCUMENT = Path(__file__).parents[2] / "docs/howto/queue.md"
MANY = 40


class Recording(OsFileSystem):
    """Writes down creates, renames and fsyncs in order; an fsync when it begins and when it is done."""

    def __init__(self) -> None:
        self.log: list[tuple[str, object]] = []

    def create(self, name: str, dir_fd: int) -> int:
        fd = super().create(name, dir_fd)
        self.log.append(("create", (fd, name)))
        return fd

    def rename(self, src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        super().rename(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        self.log.append(("rename", (src, dst)))

    def fsync(self, fd: int) -> None:
        self.log.append(("begin", fd))
        super().fsync(fd)
        self.log.append(("fsync", fd))

    def syncfs(self, fd: int) -> None:
        super().syncfs(fd)
        self.log.append(("syncfs", fd))


def bucket_of(queue: Queue) -> int:
    target = queue._opened.writer.current()
    assert target is not None
    return target.dir_fd


def is_durable(log: list[tuple[str, object]], ident: str, bucket: int) -> bool:
    """Whether the file was synced before it was renamed, and its bucket by an fsync begun after that."""
    published = next(n for n, (call, what) in enumerate(log) if call == "rename" and ident in what[1])  # type: ignore[index]
    created, fd = next((n, w[0]) for n, (call, w) in enumerate(log) if call == "create" and ident in w[1])  # type: ignore[index]
    written = log[created:published]
    begun = [n for n, entry in enumerate(log) if n > published and entry == ("begin", bucket)]
    bucket_synced = bool(begun) and ("fsync", bucket) in log[begun[0] :]
    return bucket_synced and (("fsync", fd) in written or any(call == "syncfs" for call, _ in written))


def test_each_call_returns_when_its_item_is_durable_and_they_share_fsyncs(tmp_path: Path) -> None:
    fs = Recording()
    queue = Queue(tmp_path / "spool", fs=fs)
    ids: list[str] = []

    async def put(number: int) -> None:
        ident = await queue.put_async(b"%d\n" % number, "a@b", ["c@d"])
        assert is_durable(list(fs.log), ident, bucket_of(queue))
        ids.append(ident)

    async def put_all() -> None:
        await asyncio.gather(*(put(number) for number in range(MANY)))

    asyncio.run(put_all())
    assert len(set(ids)) == MANY
    assert {listed.item.id for listed in queue.items("pending")} == set(ids)
    assert sorted(int(claim.read()) for claim in queue.claim(MANY)) == list(range(MANY))
    assert fs.log.count(("fsync", bucket_of(queue))) <= MANY // 4


def test_what_is_refused_is_refused_alone(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "spool")

    async def put_all() -> list[object]:
        puts = (queue.put_async(b"x\n", "a@b", recipients) for recipients in (["c@d"], ["\n@d"], []))
        return list(await asyncio.gather(*puts, return_exceptions=True))

    taken, control, nobody = asyncio.run(put_all())
    assert [listed.item.id for listed in queue.items()] == [taken]
    assert isinstance(control, PermanentError)
    assert isinstance(nobody, ValueError)


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_storage_error_reaches_every_caller(tmp_path: Path, call: str) -> None:
    faults = Faults([])
    queue = Queue(tmp_path / "spool", fs=FaultyFileSystem(faults), resolve_timeout=0.0)
    queue.put(b"first\n", "a@b", ["c@d"])
    faults.add(call=call, error="EIO")

    async def put_all() -> list[object]:
        puts = (queue.put_async(b"x\n", "a@b", ["c@d"]) for _ in range(3))
        return list(await asyncio.gather(*puts, return_exceptions=True))

    assert all(isinstance(outcome, TemporaryError) for outcome in asyncio.run(put_all()))


def test_for_later_and_from_a_stream(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "spool")
    later = asyncio.run(queue.put_async(b"later\n", "a@b", ["c@d"], not_before=time.time() + 3600))
    asyncio.run(queue.put_async(io.BytesIO(b"stream\n"), "a@b", ["c@d"]))
    assert [claim.read() for claim in queue.claim(9)] == [b"stream\n"]
    assert queue.find(later).item.not_before > time.time() + 3000


def test_the_example_of_the_document(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(import asyncio\n.*?)```", DOCUMENT.read_text(), re.DOTALL)
    with Queue(tmp_path / "spool") as queue:
        names = {"queue": queue}
        exec(example, names)
        assert [listed.item.id for listed in queue.items()] == sorted(names["ids"])  # type: ignore[call-overload]
