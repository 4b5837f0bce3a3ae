"""Our delivery on a real mount that misbehaves: every row of the handoff's table, every fault of storage.

A row counts as reached when the handoff itself saw it, not when a fault was injected: the looks
it takes are recorded (source there?, destination there?; None where looking failed).
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maildir_safe import Maildir, TemporaryError, UnknownOutcome
from maildir_safe._handoff.rename import Handoff
from maildir_safe.testing.faultmount import FaultMount

pytestmark = pytest.mark.mounts

MESSAGE = b"Subject: one message\n\nThe body.\n"
RESOLVE_TIMEOUT = 0.5
NEW = "box/new/*"
LOST_REPLIES = [errno.ENOENT, errno.EEXIST, errno.EIO, errno.ETIMEDOUT, errno.ESTALE]

Look = tuple[bool, bool] | None


class Bench:
    """A Maildir on a fault mount, and what is really in it."""

    def __init__(self, mount: FaultMount) -> None:
        self.mount = mount
        self.maildir = Maildir(mount.path / "box", resolve_timeout=RESOLVE_TIMEOUT)
        self.looks: set[Look] = set()

    def visible(self) -> list[str]:
        assert all(file.read_bytes() == MESSAGE for file in self._files())
        return [file.name for file in self._files()]

    def empty(self) -> None:
        for file in self._files():
            file.unlink()

    def _files(self) -> list[Path]:
        box = self.mount.backing / "box"
        return [file for part in ("new", "cur") for file in (box / part).iterdir() if file.is_file()]

    def staged(self) -> list[str]:
        """What lies in tmp/, seals excepted: those are empty directories, and `clean` removes them."""
        return [path.name for path in (self.mount.backing / "box/tmp").iterdir() if path.is_file()]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    look = Handoff._look
    with FaultMount(tmp_path) as mount:
        bench = Bench(mount)

        def recorded(self: Handoff, src_dir: int, src: str, dst_dir: int, dst: str) -> Look:
            seen = look(self, src_dir, src, dst_dir, dst)
            bench.looks.add(seen)
            return seen

        monkeypatch.setattr(Handoff, "_look", recorded)
        yield bench


def _reply_lost(bench: Bench) -> None:
    bench.mount.inject("rename", errno.EIO, name=NEW, executed=True)
    receipt = bench.maildir.deliver(MESSAGE)
    assert receipt.durability == "full"
    assert bench.visible() == [os.path.basename(receipt.path)]


def _refused_and_withdrawn(bench: Bench) -> None:
    bench.mount.inject("rename", errno.EIO, name=NEW, executed="late", times=None)
    with pytest.raises(TemporaryError) as refused:
        bench.maildir.deliver(MESSAGE)
    assert not isinstance(refused.value, UnknownOutcome)
    late = bench.mount.release()
    assert len(late) > 1
    # the source is gone; or it is the seal that is moved, which root may do
    assert set(late) <= {errno.ENOENT, 0}
    assert bench.visible() == [], "the server executed a rename after it was refused"
    assert bench.staged() == []


def _moved_on_by_a_reader(bench: Bench) -> None:
    bench.mount.inject("rename", errno.EIO, name=NEW, executed=True, held=True)
    before = len(bench.mount.fired())

    def read() -> None:
        while len(bench.mount.fired()) == before:
            time.sleep(0.01)
        (name,) = bench.visible()
        box = bench.mount.backing / "box"
        os.rename(box / "new" / name, box / "cur" / f"{name}:2,S")
        bench.mount.release()

    reader = threading.Thread(target=read)
    reader.start()
    receipt = bench.maildir.deliver(MESSAGE)
    reader.join()
    assert bench.visible() == [f"{os.path.basename(receipt.path)}:2,S"]


def _copied(bench: Bench) -> None:
    bench.mount.inject("rename", errno.EIO, name=NEW, executed="copy", times=None)
    receipt = bench.maildir.deliver(MESSAGE)
    assert bench.visible() == [os.path.basename(receipt.path)]
    assert bench.staged() == []


def _looking_fails(bench: Bench) -> None:
    bench.mount.inject("rename", errno.EIO, name=NEW, executed=True)
    bench.mount.inject("listdir", errno.EIO, name="box/new", times=None)
    with pytest.raises(UnknownOutcome) as unknown:
        bench.maildir.deliver(MESSAGE)
    bench.mount.clear()
    assert [os.path.basename(unknown.value.path or "")] == bench.visible()


ROWS: dict[Look, Callable[[Bench], None]] = {
    (False, True): _reply_lost,
    (True, False): _refused_and_withdrawn,
    (False, False): _moved_on_by_a_reader,
    (True, True): _copied,
    None: _looking_fails,
}


def test_every_row_of_the_table_is_reached(
    bench: Bench, record_property: Callable[[str, object], None]
) -> None:
    reached = 0
    for row, scenario in ROWS.items():
        bench.looks.clear()
        scenario(bench)
        reached += row in bench.looks
        bench.mount.clear()
        bench.empty()
    record_property(
        "note", f"handoff on a real mount that loses replies: rows reached: {reached}/{len(ROWS)}"
    )
    assert reached == len(ROWS)


@pytest.mark.parametrize("error", LOST_REPLIES, ids=errno.errorcode.get)
def test_a_lost_reply_is_one_copy_reported_as_delivered(bench: Bench, error: int) -> None:
    bench.mount.inject("rename", error, name=NEW, executed=True)
    receipt = bench.maildir.deliver(MESSAGE)
    assert bench.mount.fired("rename")
    assert bench.visible() == [os.path.basename(receipt.path)]
    assert bench.staged() == []


@pytest.mark.parametrize("error", [errno.EIO, errno.ETIMEDOUT], ids=errno.errorcode.get)
def test_a_rename_that_failed_is_repeated(bench: Bench, error: int) -> None:
    bench.mount.inject("rename", error, name=NEW)
    receipt = bench.maildir.deliver(MESSAGE)
    assert receipt.renames == 2
    assert bench.visible() == [os.path.basename(receipt.path)]


def test_after_an_unknown_outcome_the_same_id_makes_no_second_copy(bench: Bench) -> None:
    bench.mount.inject("fsyncdir", errno.EIO, name="box/new")
    with pytest.raises(UnknownOutcome):
        bench.maildir.deliver(MESSAGE, delivery_id="an id")
    assert bench.mount.fired("fsyncdir")
    (name,) = bench.visible()
    box = bench.mount.backing / "box"
    os.rename(box / "new" / name, box / "cur" / f"{name}:2,S")
    assert bench.maildir.deliver(MESSAGE, delivery_id="an id").repeated
    assert len(bench.visible()) == 1


@pytest.mark.parametrize("operation", ["create", "write", "fsync", "close"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO], ids=errno.errorcode.get)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(
    bench: Bench, operation: str, error: int
) -> None:
    bench.mount.inject(operation, error, name="box/tmp/*", times=None)
    with pytest.raises(TemporaryError) as refused:
        bench.maildir.deliver(MESSAGE)
    assert not isinstance(refused.value, UnknownOutcome)
    assert bench.mount.fired(operation)
    assert bench.visible() == []
    assert bench.staged() == []


def test_a_failed_fsync_is_not_repeated_on_the_same_file(bench: Bench) -> None:
    bench.mount.inject("fsync", errno.EIO)
    receipt = bench.maildir.deliver(MESSAGE)
    (failed,) = bench.mount.fired("fsync")
    assert not os.path.basename(receipt.path).startswith(os.path.basename(failed.path))
    assert bench.visible() == [os.path.basename(receipt.path)]
    assert bench.staged() == []


def test_directories_that_cannot_be_fsynced_lower_the_receipt(bench: Bench) -> None:
    bench.mount.inject("fsyncdir", errno.EINVAL, times=None)
    assert bench.maildir.deliver(MESSAGE).durability == "file"
    assert bench.mount.fired("fsyncdir")


def test_a_failed_directory_fsync_is_unknown_and_takes_nothing_back(bench: Bench) -> None:
    bench.mount.inject("fsyncdir", errno.EIO, name="box/new")
    with pytest.raises(UnknownOutcome) as unknown:
        bench.maildir.deliver(MESSAGE)
    assert bench.mount.fired("fsyncdir")
    assert [os.path.basename(unknown.value.path or "")] == bench.visible()


def test_links_are_never_asked_for(bench: Bench) -> None:
    bench.mount.inject("link", errno.EPERM, times=None)
    bench.maildir.deliver_many([MESSAGE] * 10)
    assert len(bench.visible()) == 10
    assert bench.mount.fired() == []
