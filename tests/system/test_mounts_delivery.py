"""Delivery, reading, upkeep and the drop-in on real mounts: every message back, byte by byte, once."""

from __future__ import annotations

import asyncio
import io
import mailbox
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mounts import CI_KINDS, EVERY, on_mounts

from benchmarks.mounts import Mount
from maildir_safe import Maildir, TemporaryError, UnknownOutcome
from maildir_safe.mailbox import Maildir as DropIn

DURABILITY = {"rclone-webdav": "client", "afs": "file"}  # all else: full; kAFS cannot fsync a directory
REFUSE_COLONS = ("vfat", "exfat", "fusefat", "smbnetfs")
PROCESSES, THREADS, EACH = 2, 8, 12

WRITER = """
import sys
from test_mounts_delivery import deliver_each
from maildir_safe import Maildir
box, who, tries = Maildir(sys.argv[1], create=False), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
print(*deliver_each(box, who, tries))
"""


def deliver_each(box: Maildir, who: str, tries: int) -> list[str]:
    """Deliver letters 0, 1, 2 ..., a refused one again at once; their keys."""
    return [deliver_one(box, letter(who, n), tries) for n in range(EACH)]


def deliver_one(box: Maildir, data: bytes, tries: int) -> str:
    for left in reversed(range(tries)):
        try:
            return box.deliver(data).key
        except UnknownOutcome:
            raise
        except TemporaryError:
            if not left:
                raise
    raise AssertionError("not reached")


def separator(mount: Mount) -> str:
    """What must stand between a name and its flags; not tried: smbnetfs does not take that well."""
    return ";" if mount.kind.name in REFUSE_COLONS else ":"


def keeps_dates(directory: Path) -> bool:
    """Whether a date set on an open file, as on a draft, is still there when it has been renamed."""
    with (directory / "draft").open("wb", buffering=0) as draft:
        draft.write(b"x")
        os.utime(draft.name, (1_000_000_000, 1_000_000_000))
    os.rename(draft.name, directory / "dated")
    return (directory / "dated").stat().st_mtime == 1_000_000_000


def letter(who: str, number: int) -> bytes:
    """A message that there is once, of any size, its lines ended in any way."""
    return b"Subject: %d\r\nFrom: %b\n\n" % (number, who.encode()) + b"\0\xff\r%d" % number * (97 * number)


def contents(box: Maildir) -> list[bytes]:
    found = []
    for message in box.messages():
        with box.open(message.key) as file:
            found.append(file.read())
    return sorted(found)


def seen_by_the_other_client(mount: Mount, box: Maildir, wanted: list[bytes]) -> bool:
    """Where two clients share the export: the other sees it too, when its caches have run out."""
    path = mount.paths[-1] / Path(box.path).relative_to(mount.paths[0])
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if path.is_dir() and contents(Maildir(path, create=False)) == wanted:
            return True
        time.sleep(0.5)
    return False


@on_mounts(*EVERY)
def test_every_way_in(mount: Mount) -> None:
    box = Maildir(mount.folder() / "box")
    receipts = [
        box.deliver(letter("bytes", 1)),
        box.deliver(io.BytesIO(letter("stream", 2))),
        box.deliver(letter("flags", 3), flags="S"),
        *box.deliver_many([letter("few", n) for n in range(3)]),
        *box.deliver_many([letter("many", n) for n in range(40)]),
    ]

    async def crowd() -> None:
        receipts.extend(await asyncio.gather(*(box.deliver_async(letter("async", n)) for n in range(20))))

    asyncio.run(crowd())
    assert {receipt.durability for receipt in receipts} == {DURABILITY.get(mount.kind.name, "full")}
    assert {receipt.renames for receipt in receipts} == {1}
    wanted = [letter("bytes", 1), letter("stream", 2), letter("flags", 3)]
    for who, count in (("few", 3), ("many", 40), ("async", 20)):
        wanted += [letter(who, n) for n in range(count)]
    assert contents(box) == sorted(wanted)
    assert sorted(receipt.key for receipt in receipts) == sorted(message.key for message in box.messages())
    assert box.size() == sum(map(len, wanted))
    assert os.listdir(f"{box.path}/tmp") == []
    assert seen_by_the_other_client(mount, box, sorted(wanted))


@on_mounts(*EVERY)
def test_threads_and_processes_at_once(mount: Mount) -> None:
    """While a reader lists, flags what it finds and cleans, and none is lost or doubled."""
    box = Maildir(mount.folder() / "box")
    tries = 1 if mount.kind.name in CI_KINDS else 5  # some of the others refuse when they are busy
    writers = [start_writer(box.path, f"process {n}", tries) for n in range(PROCESSES)]
    with ThreadPoolExecutor(THREADS) as pool:
        threads = [pool.submit(deliver_each, box, f"thread {n}", tries) for n in range(THREADS)]
        reader = Maildir(box.path, create=False)
        while not all(thread.done() for thread in threads) or any(
            writer.poll() is None for writer in writers
        ):
            for message in reader.messages():
                if message.subdir == "new":
                    reader.set_flags(message.key, "S")
            assert reader.clean().removed == []
    keys = [key for thread in threads for key in thread.result()]
    for writer in writers:
        assert writer.stdout is not None
        keys += writer.stdout.read().split()
        assert writer.wait() == 0
    wanted = [letter(f"process {n}", m) for n in range(PROCESSES) for m in range(EACH)]
    wanted += [letter(f"thread {n}", m) for n in range(THREADS) for m in range(EACH)]
    assert len(set(keys)) == len(keys) == len(wanted)
    assert sorted(message.key for message in box.messages()) == sorted(keys)
    assert contents(box) == sorted(wanted)


def start_writer(path: str, who: str, tries: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, path, who, str(tries)]
    paths = os.pathsep.join(sys.path)
    writer = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    assert writer.stdin is not None
    assert writer.stdout.readline() == "ready\n"
    writer.stdin.write("go\n")
    writer.stdin.flush()
    return writer


@on_mounts(*EVERY)
def test_flags_moves_and_folders(mount: Mount) -> None:
    box = Maildir(mount.folder() / "box")
    a, b, c = (box.deliver(letter("x", n)).key for n in range(3))
    box.set_flags(a, "SR")
    box.set_flags(a, "F")
    assert os.listdir(f"{box.path}/cur") == [f"{a}{separator(mount)}2,F"]
    box.move(a, "Entwürfe.日本")
    box.move(b, "Entwürfe.日本")
    assert box.discard(c)
    assert not box.discard(c)
    assert [*box.messages()] == []
    assert box.folders() == ["Entwürfe.日本"]
    folder = Maildir(box.path, create=False).folder("Entwürfe.日本", create=False)
    assert {message.key: message.flags for message in folder.messages()} == {a: "F", b: ""}
    assert contents(folder) == sorted([letter("x", 0), letter("x", 1)])
    folder.move(a, box)
    assert [(message.key, message.flags) for message in box.messages()] == [(a, "F")]
    with pytest.raises(KeyError):
        folder.open(a)


@on_mounts(*EVERY)
def test_the_same_id_again_is_one_copy(mount: Mount) -> None:
    box = Maildir(mount.folder() / "box")
    first = box.deliver(letter("id", 5), delivery_id="4Fq2 a@example.com")
    again = Maildir(box.path, create=False).deliver(letter("id", 5), delivery_id="4Fq2 a@example.com")
    box.set_flags(first.key, "S")
    read_already = Maildir(box.path, create=False).deliver(letter("id", 5), delivery_id="4Fq2 a@example.com")
    assert [again.key, read_already.key] == [first.key] * 2
    assert [first.repeated, again.repeated, read_already.repeated] == [False, True, True]
    assert contents(box) == [letter("id", 5)]
    box.deliver(letter("id", 5), delivery_id="4Fq2 b@example.com")
    assert contents(box) == [letter("id", 5)] * 2


@on_mounts(*EVERY)
def test_the_janitor_removes_what_is_old_and_nothing_else(mount: Mount) -> None:
    box = Maildir(mount.folder() / "box")
    key = box.deliver(letter("x", 1)).key
    stale, young = Path(box.path, "tmp", "1.stale"), Path(box.path, "tmp", "2.young")
    stale.write_bytes(b"x" * 100)
    young.write_bytes(b"x")
    days_ago = young.stat().st_mtime - 37 * 3600
    os.utime(stale, (young.stat().st_mtime, days_ago))  # read a moment ago: that does not count
    assert box.clean(dry_run=True).removed == ["tmp/1.stale"]
    report = box.clean()
    assert (report.removed, report.kept, report.failed, report.bytes) == (["tmp/1.stale"], 1, [], 100)
    assert os.listdir(f"{box.path}/tmp") == ["2.young"]
    assert [message.key for message in box.messages()] == [key]


@on_mounts(*EVERY)
def test_the_drop_in(mount: Mount) -> None:
    box = DropIn(mount.folder() / "box")
    keys = [box.add(letter("x", n)) for n in range(5)]
    dated = mailbox.MaildirMessage(b"Subject: old\n\nx\n")
    dated.set_date(1_000_000_000)
    dated.set_subdir("cur")
    dated.set_flags("RS")
    keys.append(box.add(dated))
    box.set_flags(keys[0], "F")
    box.add_flag(keys[0], "S")
    box[keys[1]] = letter("replaced", 9)
    box[keys[2]] = dated
    box.remove(keys[3])
    again = DropIn(box._path, create=False)
    assert sorted(again.keys()) == sorted({*keys} - {keys[3]})
    assert [again.get_flags(keys[n]) for n in (0, 1, 2, 4, 5)] == ["FS", "", "RS", "", "RS"]
    assert again.get_bytes(keys[0]) == letter("x", 0)
    assert again.get_bytes(keys[1]) == letter("replaced", 9)
    assert again.get_bytes(keys[2]) == again.get_bytes(keys[5]) == b"Subject: old\n\nx\n"
    if keeps_dates(mount.folder()):
        assert again[keys[5]].get_date() == again[keys[2]].get_date() == 1_000_000_000
    assert box.colon == separator(mount)
    folder = again.add_folder("Sent")
    folder.add(letter("x", 7))
    assert again.list_folders() == ["Sent"]
    with pytest.raises(mailbox.NotEmptyError):
        again.remove_folder("Sent")
    folder.clear()
    again.remove_folder("Sent")
    assert again.list_folders() == []
    assert sorted(os.listdir(box._path)) == ["cur", "new", "tmp"]


@on_mounts("mergerfs-split")
def test_tmp_and_new_on_two_file_systems(mount: Mount) -> None:
    """rename() from tmp/ says EXDEV: from then on a message is written where it goes."""
    path = mount.paths[0] / "split"
    (path / "tmp" / "a").touch()
    with pytest.raises(OSError, match="cross-device"):
        os.rename(path / "tmp" / "a", path / "new" / "a")
    (path / "tmp" / "a").unlink()
    box = Maildir(path)
    keys = [box.deliver(letter("split", n)).key for n in range(3)]
    keys += [receipt.key for receipt in box.deliver_many([letter("many", n) for n in range(10)])]
    assert contents(box) == sorted(
        [letter("split", n) for n in range(3)] + [letter("many", n) for n in range(10)]
    )
    assert sorted(message.key for message in box.messages()) == sorted(keys)
    assert [os.listdir(path / "tmp"), [name for name in os.listdir(path / "new") if name[0] == "."]] == [
        [],
        [],
    ]
    key = DropIn(path).add(letter("drop-in", 1))
    assert DropIn(path).get_bytes(key) == letter("drop-in", 1)
