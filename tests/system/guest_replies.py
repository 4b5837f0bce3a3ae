"""NFS servers that execute a call whose reply is lost, and servers that stay away from a soft mount.

Run in the guest by test_guest.py. The reply is lost for good: all that the server sends is dropped until it
has executed the call, then its threads are started anew, so that nothing remembers the request that the
client sends again.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mounts import on_mounts

from benchmarks.mounts import Mount
from maildir_safe import Maildir, Queue, TemporaryError, UnknownOutcome
from maildir_safe._fs.posix import OsFileSystem

MAIL = b"Subject: x\n\n" + b"x" * 4084
SERVERS = on_mounts("nfs3", "nfs42")
RESOLVE_TIMEOUT = 3.0  # seconds, instead of 35: so that it is spent before the server is back
AWAY = 15
WRITERS, LETTERS = 3, 8
# the server's own view of the system, as benchmarks.mounts.nfs made it; $0 is its home
VIEW = (
    'mount -t nfsd nfsd /proc/fs/nfsd; mount --bind "$0/exports" /etc/exports;'
    ' mount --bind "$0/var" /var/lib/nfs; mount --bind "$0/run" /run; exec "$@"'
)

Note = Callable[[str, object], None]


class Server:
    """The server of a mount, with its hands on the cable."""

    def __init__(self, mount: Mount) -> None:
        self.base = mount.paths[0].parent
        self.mount = mount

    def exported(self, path: str | Path) -> Path:
        """A path of the first client, as the server has it on its disk."""
        return self.base / "export" / Path(path).relative_to(self.mount.paths[0])

    def run(self, *command: str) -> None:
        """A command in the server's network."""
        enter = ["nsenter", f"--net={self.base / 'net' / 's1'}"]
        done = subprocess.run([*enter, *command], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (command, done.stderr)

    def silence(self) -> None:
        """From now on nothing that the server sends arrives."""
        self.run("tc", "qdisc", "add", "dev", "lan", "root", "netem", "loss", "100%")

    def speak(self) -> None:
        """The cable is whole again."""
        self.run("tc", "qdisc", "delete", "dev", "lan", "root")

    def unplug(self) -> None:
        """From now on nothing that is sent to the server arrives either."""
        self.run("ip", "link", "set", "lan", "down")

    def plug(self) -> None:
        """The cable is in again."""
        self.run("ip", "link", "set", "lan", "up")

    def stop(self) -> None:
        """End it at once: what it knew of clients and their requests is gone, unsent replies too."""
        self.run("ss", "--kill", "--no-header", "sport", "=", ":2049")
        self._threads("0")

    def start(self) -> None:
        """Start it again."""
        self._threads("--lease-time", "10", "--grace-time", "10", "4")

    def _threads(self, *words: str) -> None:
        self.run("unshare", "--mount", "sh", "-ec", VIEW, str(self.base / "s1"), "rpc.nfsd", *words)


class LosesOneReply(OsFileSystem):
    """The first call of one kind is executed by the server, and its reply never arrives."""

    def __init__(self, server: Server, kind: str, executed: Callable[[], bool]) -> None:
        self.server = server
        self.executed = executed
        self.answers: list[str] = []
        self._act = getattr(self, kind)
        setattr(self, kind, self._call)

    def _call(self, *args: object, **directories: int) -> None:
        recovery = None
        if not self.answers:
            self.server.silence()
            recovery = threading.Thread(target=self._recover)
            recovery.start()
        try:
            self._act(*args, **directories)
            self.answers.append("ok")
        except OSError as error:
            self.answers.append(os.strerror(error.errno or 0))
            raise
        finally:
            if recovery is not None:
                recovery.join()

    def _recover(self) -> None:
        deadline = time.monotonic() + 60
        while not self.executed() and time.monotonic() < deadline:
            time.sleep(0.02)
        self.server.stop()
        self.server.start()
        self.server.speak()


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))


@SERVERS
def test_a_delivery_whose_reply_is_lost_is_one_copy(mount: Mount, record_property: Note) -> None:
    server, path = Server(mount), mount.folder() / "box"
    Maildir(path)
    new = server.exported(path) / "new"
    fs = LosesOneReply(server, "rename", lambda: names(new) != [])
    receipt = Maildir(path, create=False, fs=fs).deliver(MAIL)
    record_property(
        "note", f"{mount.kind.name}: rename executed, reply lost: the client was told {fs.answers}"
    )
    assert fs.answers == ["No such file or directory"]
    assert receipt.durability == "full"
    assert names(new) == [Path(receipt.path).name]
    # a seal of ours is an empty directory there, which `clean` removes
    assert [entry for entry in (server.exported(path) / "tmp").iterdir() if entry.is_file()] == []
    assert (new / Path(receipt.path).name).read_bytes() == MAIL


@on_mounts("nfs3")
def test_flags_set_with_a_lost_reply_are_set(mount: Mount) -> None:
    server, path = Server(mount), mount.folder() / "box"
    key = Maildir(path).deliver(MAIL).key
    cur = server.exported(path) / "cur"
    fs = LosesOneReply(server, "rename", lambda: names(cur) != [])
    message = Maildir(path, create=False, fs=fs).set_flags(key, "S")
    assert fs.answers == ["No such file or directory"]
    assert (message.key, message.flags) == (key, "S")
    assert names(cur) == [f"{key}:2,S"]
    assert names(server.exported(path) / "new") == []


@on_mounts("nfs42")
def test_a_claim_with_a_lost_reply_is_ours(mount: Mount) -> None:
    server, path = Server(mount), mount.folder() / "spool"
    with Queue(path) as queue:
        ident = queue.put(MAIL, "s@example.org", ["r@example.org"])
    claimed = server.exported(path) / "claimed"
    fs = LosesOneReply(server, "rename", lambda: any(names(worker) for worker in claimed.iterdir()))
    with Queue(path, create=False, heartbeat=False, fs=fs) as queue:
        (claim,) = queue.claim()
        assert fs.answers[0] == "No such file or directory"
        assert (claim.id, claim.read()) == (ident, MAIL)
        claim.ack()
        assert queue.stats()["pending"] == queue.stats()["claimed"] == 0


class CutsTheCable(OsFileSystem):
    """At its third rename the server goes away, and comes back after a while."""

    def __init__(self, cut: Callable[[], None], mend: Callable[[], None]) -> None:
        self._numbers = itertools.count(1)
        self.told = Counter[str]()
        self._cut = cut
        self.mending = threading.Timer(AWAY, mend)

    def rename(self, src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if next(self._numbers) == 3:
            self._cut()
            self.mending.start()
        try:
            super().rename(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        except OSError as error:
            self.told[os.strerror(error.errno or 0)] += 1
            raise


def soft_mount(mount: Mount) -> Path:
    """The export once more, by a client that gives up after three seconds."""
    base = mount.paths[0].parent
    point = base / "soft"
    if not point.is_mount():
        point.mkdir()
        source = next(
            line.split()[0]
            for line in Path("/proc/mounts").read_text().splitlines()
            if f" {mount.paths[0]} " in line
        )
        options = "vers=3,nolock,soft,timeo=10,retrans=1,nosharecache"
        command = f"hostname c1; exec mount -t nfs -o {options} {source} {point}"
        enter = ["nsenter", f"--net={base / 'net' / 'c1'}", "unshare", "--uts", "sh", "-ec", command]
        subprocess.run(enter, check=True)
    return point


def deliver_each(box: Maildir, who: int, unknown: list[str]) -> dict[str, bool]:
    """Deliver messages; a refused one is not tried again, one of unknown outcome is. By id: if delivered."""
    ledger = {}
    for number in range(LETTERS):
        ident, deadline = f"letter {who}.{number}", time.monotonic() + 120
        while ident not in ledger:
            assert time.monotonic() < deadline
            try:
                box.deliver(ident.encode() + MAIL, delivery_id=ident)
                ledger[ident] = True
            except UnknownOutcome:
                unknown.append(ident)
            except TemporaryError:
                ledger[ident] = False
        time.sleep(0.2)
    return ledger


@on_mounts("nfs3")
@pytest.mark.parametrize("requests", ["executed", "lost"])
def test_a_soft_mount_whose_server_is_away(mount: Mount, requests: str, record_property: Note) -> None:
    """Its calls fail, though they were or will be executed; what we say of each message holds."""
    server, path = Server(mount), soft_mount(mount) / mount.folder().name / "box"
    Maildir(path)
    new = server.base / "export" / path.relative_to(server.base / "soft") / "new"
    executed = requests == "executed"
    fs = CutsTheCable(
        server.silence if executed else server.unplug, server.speak if executed else server.plug
    )
    box = Maildir(path, create=False, resolve_timeout=RESOLVE_TIMEOUT, fs=fs)
    unknown: list[str] = []
    with ThreadPoolExecutor(WRITERS) as pool:
        ledgers = pool.map(lambda who: deliver_each(box, who, unknown), range(WRITERS))
        ledger = {ident: delivered for ledger in ledgers for ident, delivered in ledger.items()}
    fs.mending.join()
    time.sleep(5)  # for requests that were given up and are executed now
    found = Counter(file.read_bytes().partition(b"Subject")[0].decode() for file in new.iterdir())
    record_property(
        "note",
        f"{mount.kind.name} soft, server away for {AWAY} s, its requests {requests}: renames were told"
        f" {dict(fs.told)}; of {len(ledger)} messages {sum(ledger.values())} acknowledged"
        f" ({len(unknown)} times of unknown outcome before), the others refused; {found.total()} there",
    )
    assert fs.told["Input/output error"] > 0
    assert unknown or not all(ledger.values())
    assert found == Counter(ident for ident, delivered in ledger.items() if delivered)
