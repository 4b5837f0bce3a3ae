"""Exim's own lock under the shim: it appends to an mbox below a lock that it takes by link()."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mta import owned, scratch
from shim_support import RUN
from test_mta_exim import MESSAGE, UID, Exim, program

from maildir_safe.testing.faultmount import FaultMount

pytestmark = pytest.mark.mounts
__all__ = ["program"]  # the fixture

CONTENDERS, ROUNDS = 2, 25
# no fcntl lock, so that nothing but the lock file keeps two of them apart
TRANSPORT = """
documented:
  driver = appendfile
  file = {mbox}
  use_lockfile = true
  use_fcntl_lock = false
  lock_retries = {retries}
  lock_interval = 1s
"""


class Appending(Exim):
    """An Exim that appends all mail to one mbox, with or without the shim around it."""

    def __init__(self, base: Path, program: Path, mbox: Path, shim: list[str], retries: int) -> None:
        super().__init__(base, program, base)
        config = base / "exim.conf"
        before, _, rest = config.read_text().partition("begin transports\n")
        router = "begin routers\nall:\n  driver = accept\n  transport = documented\n"
        transport = TRANSPORT.format(mbox=mbox, retries=retries)
        _, _, retry = rest.partition("begin retry")
        text = before.partition("begin routers")[0] + router + "begin transports\n" + transport
        config.write_text(text + "begin retry" + retry)
        self._shim = shim

    def _run(self, *words: str, message: str = "") -> str:
        private = (
            f"mount --bind {self._base}/passwd /etc/passwd && mount --bind {self._base}/group /etc/group"
        )
        user = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
        script = ["sh", "-c", f'{private} && exec "$@"', "sh", *user, *self._program, *words]
        command = [*self._shim, "unshare", "--mount", *script]
        done = subprocess.run(command, input=message, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def base() -> Iterator[Path]:
    with scratch() as path:
        yield path


def test_two_exims_append_to_one_mbox(base: Path, program: Path) -> None:
    """Where links work the lock keeps them apart: no message is mixed with another or lost."""
    mailboxes = owned(base / "mail", UID)
    exim = Appending(base, program, mailboxes / "bob", [*RUN, "--"], retries=50)

    def send(number: int) -> None:
        exim.send("ann@example.com", f"Subject: {number}\n\n" + f"line of {number}\n" * 200)

    with ThreadPoolExecutor(CONTENDERS) as pool:
        list(pool.map(send, range(CONTENDERS * ROUNDS)))
    assert exim.queue() == 0
    texts = (mailboxes / "bob").read_text().split("From ann@example.com ")[1:]
    assert len(texts) == CONTENDERS * ROUNDS
    bodies = sorted(text.partition("\n\n")[2].rstrip("\n") for text in texts)
    wanted = (f"line of {number}\n" * 200 for number in range(CONTENDERS * ROUNDS))
    assert bodies == sorted(body.rstrip("\n") for body in wanted)
    assert sorted(path.name for path in mailboxes.iterdir()) == ["bob"]


@pytest.mark.parametrize("shim", [False, True], ids=["control", "shim"])
def test_without_links_exim_defers_as_before(shim: bool, base: Path, program: Path) -> None:
    backing = owned(base / "backing", UID)
    (base / "mount").mkdir()
    with FaultMount(backing, base / "mount") as mount:
        mount.inject("link", errno.EPERM, times=None)
        pair = [*RUN, "--pair", "*:mount", "--trace", "--"] if shim else []
        exim = Appending(base, program, mount.path / "bob", pair, retries=1)
        exim.send("ann@example.com", MESSAGE)
        assert exim.queue() == 1
        assert "== bob@example.org" in exim.log()
        assert mount.fired("link")
        assert mount.fired("rename") == []
        assert not (backing / "bob").exists() or (backing / "bob").stat().st_size == 0
