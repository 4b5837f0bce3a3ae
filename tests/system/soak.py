"""A soak: every way in, on a mount where calls fail in every way, and a count of what was promised.

    python -m tests.system.soak --minutes 10 --level 0.02 --seed 1

The mount is faultfuse.c. Afterwards the faults stop, late calls are executed, what was begun is finished,
the queue is worked until it is empty, and the backing directory is compared with the ledger.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from faultfuse import FaultFuse, lacks  # noqa: E402
from soak_ledger import SoakLedger, Verdict, compare  # noqa: E402
from soak_roles import Roles  # noqa: E402

from maildir_safe import Claim, Maildir, Queue  # noqa: E402
from maildir_safe.errors import PermanentError, TemporaryError  # noqa: E402
from tests.smtp_support import Serve  # noqa: E402

_STATES = ("pending", "claimed", "failed", "corrupt")
DRAIN = 400.0  # seconds for what was begun, and for the queue: a busy machine needs many, a stuck item all


class Soak:
    """One run.

    Args:
        folder: a directory off the mount.
        seconds: how long calls fail.
        level: how likely each does.
        seed: of what fails.
        only: which calls fail; all of them by default.
    """

    def __init__(self, folder: Path, seconds: float, level: float, seed: int, only: tuple[str, ...]) -> None:
        self.folder = folder
        self.seconds = seconds
        self.level = level
        self.ledger = SoakLedger()
        self.stopping = threading.Event()
        self.fuse = FaultFuse(folder / "backing", folder / "mount", seed)
        self.fuse.only(*only)
        self.counts: dict[str, int] = {}
        self._seed = seed

    def run(self) -> Verdict:
        """Do it all."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.fuse.close)
            mount, config = self.fuse.path, self.folder / "sendmail.toml"
            roles = Roles(mount, self.ledger, self.stopping, self._seed, config)
            (mount / "users").mkdir()
            for user in ("alice", "bob"):
                Maildir(mount / "users" / user)
            served = stack.enter_context(self._serve("--map", f"{mount}/users/{{local}}"))
            queued = stack.enter_context(self._serve("--queue", f"{mount}/spool"))
            doers = [roles.api, roles.api, roles.plain, roles.batch, roles.drop, roles.command, roles.command]
            doers += [roles.put, roles.put, roles.read, roles.work, roles.work, roles.sendmail, roles.worker]
            for server, door, user in ((served, "", "alice"), (served, "", "bob"), (queued, "queue", "r")):
                address = f"{user}@example.org"
                doers += [
                    functools.partial(roles.client, server.told("SMTP"), f"smtp{door}", address),
                    functools.partial(roles.client, server.told("LMTP"), f"lmtp{door}", address, lmtp=True),
                ]
            self.fuse.level(self.level)
            threads = [roles.loop(doer) for doer in doers]
            time.sleep(self.seconds)
            self.fuse.level(0.0)
            self.fuse.wait()
            self.stopping.set()
            until = time.monotonic() + DRAIN
            for thread in threads:
                thread.join(max(0.0, until - time.monotonic()))
            if any(thread.is_alive() for thread in threads):
                self.ledger.complain("a role does not come to an end")
            self.counts = self.fuse.counts()
            self._drain(roles)
            return compare(self.ledger, self._found(), self._kept())

    @contextlib.contextmanager
    def _serve(self, *flags: str) -> Iterator[Serve]:
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        server = Serve(folder, "--lmtp", "127.0.0.1:0", *flags)
        try:
            yield server
        finally:
            server.process.terminate()
            try:
                server.process.wait(120)
            except subprocess.TimeoutExpired:
                server.process.kill()
                self.ledger.complain("a server does not end")
            log = server.log.read_text()
            if "Traceback" in log:
                self.ledger.complain("a server logged a traceback: " + log[log.index("Traceback") :][-400:])

    def _drain(self, roles: Roles) -> None:
        """Work the queue until it is empty: in this process, as a worker that never failed would."""
        until = time.monotonic() + DRAIN
        while True:
            roles.queue.tend()
            for claim in roles.queue.claim(100):
                self._finish(claim, roles)
            stats = roles.queue.stats()
            if not stats["pending"] and not stats["claimed"]:
                break
            if time.monotonic() > until:
                self.ledger.complain(f"the queue is not empty {DRAIN:.0f} s after the last fault: {stats}")
                break
            time.sleep(0.5)
        roles.queue.close()  # what it holds goes back to pending/, and is listed there
        with Queue(roles.queue.path) as queue:
            left = [str(listed.path) for state in _STATES for listed in queue.items(state)]
        for path in left:
            there = self.fuse.backing / "spool" / path
            if there.is_dir() or not there.stat().st_size:
                # a seal, or what a create that was executed late had made; renamed late and taken at once
                self.ledger.remark(f"nothing, under an item's name: {path}")
            else:
                self.ledger.complain(f"left in the queue: {path}")

    def _finish(self, claim: Claim, roles: Roles) -> None:
        """Deliver; what is damaged stays in corrupt/, where `_kept` finds it if it is anything."""
        try:
            claim.ack_into(roles.target)
        except PermanentError as error:
            self.ledger.remark(str(error))
        except TemporaryError as error:
            self.ledger.complain(f"{claim.id}, when nothing failed any more: {error}")

    def _found(self) -> Iterator[tuple[str, bytes]]:
        for pattern in ("*/new/*", "*/cur/*", "users/*/new/*", "users/*/cur/*"):
            for path in sorted(self.fuse.backing.glob(pattern)):
                if path.is_file() and not path.name.startswith("."):
                    yield str(path.relative_to(self.fuse.backing)), path.read_bytes()

    def _kept(self) -> Iterator[bytes]:
        for state in ("pending", "claimed", "failed", "corrupt", "hold"):
            for path in (self.fuse.backing / "spool" / state).glob("*/*"):
                data = path.read_bytes() if path.is_file() else b""
                yield data[data.index(b"Subject: ") :] if b"Subject: " in data else data


def soak(
    folder: Path, seconds: float, level: float = 0.02, seed: int = 1, only: tuple[str, ...] = ("all",)
) -> str:
    """Run, and assert that every promise was kept; the figures."""
    run = Soak(folder, seconds, level, seed, only)
    verdict = run.run()
    struck = " ".join(f"{name}={count}" for name, count in run.counts.items())
    faults = f"{sum(run.counts.values())} faults in {seconds:.0f} s, level {level}, seed {seed}"
    text = f"{faults}\n{verdict}\nodd: {len(run.ledger.odd)} {run.ledger.odd[:10]}\n{struck}"
    assert verdict.good, text
    return text


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--level", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="all", help="calls, joined by commas")
    args = parser.parse_args()
    if reason := lacks():
        print(reason, file=sys.stderr)
        return 77
    with tempfile.TemporaryDirectory(prefix="soak.") as folder:
        try:
            print(soak(Path(folder), args.minutes * 60, args.level, args.seed, tuple(args.only.split(","))))
        except AssertionError as wrong:
            print(wrong)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
