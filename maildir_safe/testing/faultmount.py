"""A real mount point that loses replies, refuses links and fails on demand.

For testing any program that keeps files, in any language: mount it over a directory, say what
shall go wrong, run the program, look at what it did. Needs Linux, FUSE (Debian: fuse3 and
libfuse2 or libfuse3-3) and ``pip install mfusepy``.

    import errno, mailbox
    from maildir_safe.testing.faultmount import FaultMount

    with FaultMount("/tmp/backing") as mount:
        box = mailbox.Maildir(mount.path / "box")
        mount.inject("link", errno.EIO, name="box/new/*", executed=True)   # done, but the reply is lost
        try:
            box.add(b"Subject: hello\\n\\n")
        except OSError:
            box.add(b"Subject: hello\\n\\n")       # the sender tries again ...
        assert len(mount.fired()) == 1
        assert len(box) == 2                      # ... and the mail is there twice

What network file systems really do, and how to say it:

* the reply to a rename or link was lost, and its retransmission got ENOENT or EEXIST (NFS):
  ``inject("rename", errno.ENOENT, executed=True)``
* a soft mount gave up, and the server executes the call later:
  ``inject("rename", errno.EIO, executed="late")``, and ``release()`` when "later" has come
* no hard links (Coda, AFS, SMB, vfat): ``inject("link", errno.EXDEV, times=None)``
* full disk or quota, told at write, fsync or close: ``inject("close", errno.EDQUOT)``
* directories that cannot be synced: ``inject("fsyncdir", errno.EINVAL, times=None)``
* a listing that is behind the times: ``inject("listdir", name="box/new", stale=True)``

The kernel's caches for names and attributes are off, so each look reaches the mount. Renames with
flags (RENAME_NOREPLACE) are not passed on: EINVAL with libfuse 2, flags ignored with libfuse 3. Two
errors do not reach a program as they are: after ESTALE the kernel repeats the call once by itself,
so ``times=2`` is needed for one that was not executed; and ENOSYS means "never ask me again" to
FUSE (from then on link gives EPERM, and fsync and close succeed). Faults are decided in one
separate process, the same for every program on the mount.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from maildir_safe._child import DIRECTORY, command
from maildir_safe.testing.faultplan import Executed, Fired

__all__ = ["FaultMount", "Fired"]


class FaultMount:
    """A pass-through mount over a directory, with faults; a context manager. Thread-safe.

    Args:
        backing: an existing directory that holds the files. Looking there shows what really
            is, without any fault.
        path: where to mount, an existing directory; by default a new temporary one, removed
            at the end.

    Attributes:
        path: the mount point, as a `Path`.
        backing: the directory underneath, as a `Path`.

    Raises:
        RuntimeError: the mount did not come up; its process has written why to standard error.
    """

    def __init__(self, backing: str | os.PathLike[str], path: str | os.PathLike[str] | None = None) -> None:
        self.backing = Path(backing).resolve(strict=True)
        self._own_path = path is None
        self.path = Path(tempfile.mkdtemp(prefix="faultmount.") if path is None else path)
        self._lock = threading.Lock()
        self._server = subprocess.Popen(
            command("maildir_safe.testing.faultfs", self.backing, self.path.resolve()),
            cwd=DIRECTORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if not self._read():
            self._end()
            raise RuntimeError(f"no FUSE mount on {self.path}; its process said why on standard error")

    def __enter__(self) -> FaultMount:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def inject(
        self,
        operation: str,
        error: int | None = None,
        *,
        name: str = "*",
        times: int | None = 1,
        executed: Executed = False,
        delay: float = 0.0,
        held: bool = False,
        stale: bool = False,
    ) -> None:
        """Make the next call of a kind fail. The fault is active when this returns.

        Faults are tried in the order of their injection; a call runs into the first that fits.

        Args:
            operation: one of `faultplan.OPERATIONS`: ``rename``, ``link``, ``write``, ``fsync``
                (files), ``fsyncdir``, ``close``, ``listdir``, ``stat`` ...
            error: the errno to report, ``errno.EIO``; None to report what happens.
            name: a glob for the path below the mount, ``"*/new/*"`` (``*`` matches ``/`` too);
                of a rename or link, its new name.
            times: how many calls; None for all from now on.
            executed: what happened behind the error: False, nothing; True, all of it;
                ``"late"``, nothing until `release`; ``"copy"``, a rename made the new name and
                kept the old.
            delay: seconds that the answer takes longer.
            held: the answer waits for `release`, at most `faultplan.LONGEST_HOLD` seconds. Look at
                `backing` meanwhile, not at the mount: the kernel has locked the directories of
                a rename.
            stale: for ``listdir`` of one directory (`name` without wildcards): it goes on
                listing what is there now.

        Raises:
            ValueError: such a fault makes no sense.
        """
        self._ask(
            do="inject",
            operation=operation,
            error=error,
            name=name,
            times=times,
            executed=executed,
            delay=delay,
            held=held,
            stale=stale,
        )

    def fired(self, operation: str | None = None) -> list[Fired]:
        """Return the faults that have happened so far, in order; only those of one operation if it is given.

        A test that injects should assert this: a fault that nothing ran into proves nothing.
        """
        events = [Fired(*row) for row in self._ask(do="fired")["fired"]]
        return [one for one in events if operation in (None, one.operation)]

    def release(self) -> list[int]:
        """Release held answers, and execute the late calls now.

        Returns:
            of each late call its errno, 0 if it took effect.
        """
        late: list[int] = self._ask(do="release")["late"]
        return late

    def clear(self) -> None:
        """Drop the faults that have not happened yet."""
        self._ask(do="clear")

    def close(self) -> None:
        """Unmount. Programs that still use the mount get ENOTCONN. Calling this again does nothing."""
        if self._server.returncode is None:
            self._send({"do": "close"})
            self._end()

    def _ask(self, **command: Any) -> dict[str, Any]:
        with self._lock:
            self._send(command)
            answer = self._read()
        if answer is None:
            raise RuntimeError(f"the process that serves {self.path} is gone")
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer

    def _send(self, command: dict[str, Any]) -> None:
        assert self._server.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # somebody unmounted it: the answer will be missing
            self._server.stdin.write(json.dumps(command) + "\n")
            self._server.stdin.flush()

    def _end(self) -> None:
        try:
            self._server.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.communicate()
        if self._own_path:
            self.path.rmdir()

    def _read(self) -> dict[str, Any] | None:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        answer: dict[str, Any] | None = json.loads(line) if line else None
        return answer
