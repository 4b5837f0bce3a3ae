"""GlusterFS with an arbiter, the sequence that left second names: nothing is delivered twice, nothing stays.

One server's network is away for 45 seconds while two hosts put and deliver; when it is back, and the
volume heals, one client is killed. Healing can leave a claimed item as a second name of the message that
is already in new/: a rename from the one to the other then succeeds and does nothing.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from queue_crew import Crew, until

from benchmarks.mounts import MountError, kernel_knows, missing, mounted
from benchmarks.mounts.mount import KINDS, Mount

AWAY = float(os.environ.get("GLUSTER_AWAY", "45"))
LEASE = 10
TRIES = 3
MESSAGES = 1500
READ = 200

pytestmark = [pytest.mark.mounts, pytest.mark.timeout(900)]


@pytest.fixture
def arbiter(tmp_path: Path) -> Iterator[Mount]:
    """A volume of its own: its client is killed."""
    kind = KINDS["gluster-arbiter"]
    if not kernel_knows(kind.fstype):
        pytest.skip(f"no {kind.fstype}")
    give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
    if lacks := missing(kind):
        give_up(lacks)
    try:
        with mounted(kind.name, tmp_path / "mounts") as mount:
            yield mount
    except MountError as error:
        give_up(str(error))


def names(maildir: Path) -> Counter[str]:
    """How often each item is in the Maildir, wherever a reader has put it."""
    found = [name for sub in ("new", "cur") for name in os.listdir(maildir / sub)]
    return Counter(name.partition(",")[0] for name in found)


def read_some(maildir: Path) -> tuple[int, int]:
    """A mail reader: messages with a second name go to cur/, and some others; how many of each."""
    links = {path: path.stat().st_nlink for path in (maildir / "new").iterdir()}
    paths = sorted(links, key=lambda path: -links[path])[:READ]
    for path in paths:
        path.rename(maildir / "cur" / f"{path.name}:2,S")
    return len(paths), sum(count > 1 for count in links.values())


def not_ended(spool: Path) -> list[str]:
    """The names of all items that workers have, and of those that wait for one."""
    found = []
    for directory in (*(spool / "claimed").iterdir(), *(spool / "pending").iterdir()):
        with contextlib.suppress(FileNotFoundError):  # removed since it was listed
            names = os.listdir(directory)
            found += [name for name in names if directory.parent.name == "claimed" or name.endswith(",o")]
    return found


def to_heal(stage: Path) -> int:
    """How many files and directories the servers' indices name as not yet healed."""
    entries = stage.glob("*/*/brick/.glusterfs/indices/xattrop/*")
    return sum(not entry.name.startswith("xattrop-") for entry in entries)


def test_a_server_is_away_and_a_client_dies_while_the_volume_heals(
    arbiter: Mount, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    roots = [path / "box" for path in arbiter.paths]
    roots[0].mkdir()
    until(roots[1].is_dir)
    crew = Crew(roots, tmp_path, LEASE)
    begin = time.monotonic()
    try:
        until(lambda: (roots[1] / "spool" / "corrupt").is_dir() and (roots[1] / "maildir" / "cur").is_dir())
        here = [crew.putter(0, MESSAGES, 0), crew.worker(host=0), crew.worker(host=0)]
        there = [crew.putter(1_000_000, MESSAGES, 1), crew.worker(host=1), crew.worker(host=1)]
        time.sleep(3.0)
        for _ in range(TRIES):
            with arbiter.unplugged("s1"):
                time.sleep(AWAY)
            time.sleep(1.0)  # the volume heals
            if healing := to_heal(tmp_path / "mounts"):
                break
        arbiter.stop("c1")
        assert healing, "nothing was left to heal when the client was killed: this has shown nothing"
        for process in here:
            process.kill()
            process.wait()
        arbiter.start("c1")
        crew.worker(host=0)
        crew.worker(host=0)
        time.sleep(5.0)
        there[0].kill()  # what it was told is in the queue is in its ledger
        there[0].wait()
        accepted = {ident for _, ident in crew.accepted()}
        until(lambda: accepted <= set(names(crew.maildir)), 400)
        read, linked = read_some(crew.maildir)
        time.sleep(3 * LEASE)  # what is stuck is delivered over and over
        found = names(crew.maildir)
        assert {ident: count for ident, count in found.items() if count > 1} == {}, "delivered twice"
        assert accepted <= set(found), "lost"
        said = crew.said_delivered()
        # healing may bring a claim back that was delivered, also to the worker that has delivered it
        assert {one: count for one, count in said.items() if count > 2} == {}, "one worker, over and over"
        workers: Counter[str] = Counter()
        for (_, ident), count in said.items():
            workers[ident] += count
        ends = time.monotonic() + 12 * LEASE  # healing may bring one back at any time
        while stuck := not_ended(roots[0] / "spool"):
            assert time.monotonic() < ends, f"nobody will ever end these: {stuck}"
            time.sleep(1.0)
        record_property(
            "note",
            f"gluster-arbiter: s1 unplugged {AWAY:.0f} s, c1 killed while {healing} were to be healed: "
            f"{len(accepted)} accepted, {sum(found.values())} in the Maildir, {linked} with a second name, "
            f"{read} of them read, {len(workers)} said to be delivered, "
            f"{sum(count > 1 for count in workers.values())} of them twice; "
            f"{time.monotonic() - begin:.0f} s",
        )
    finally:
        crew.end()
