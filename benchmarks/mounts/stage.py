"""A stage: one directory that holds all a mount needs, and from which all of it is found again.

Nothing is written down for the tear-down, so nothing can be out of date when a start failed half way
or the starter was killed. What a stage put into the system is found from its directory alone:

- mounts: those of /proc/self/mountinfo below the directory;
- loop devices: those whose image lies in the directory;
- processes: those in the stage's control group, which no daemon leaves by forking (cgroups(7));
- network namespaces: files of the directory, each bind-mounted on its namespace (unshare(1)).

Servers listen in network namespaces of their own: fixed ports meet no other stage and no real server,
and no packet leaves the machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.mounts.holders import holders

RELEASE = 60.0  # seconds that a loaded machine may take to write back and let go of a loop device
STARTING = 60.0  # seconds that a server or a mount may take to come up, on a loaded machine too
_ENTER_GROUP = ["sh", "-c", 'echo $$ >"$0" && exec "$@"']
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class MountError(Exception):
    """A mount did not come up, or did not go away; the text says which command failed and how."""


def wait_until(true: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Ask `true` twenty times a second.

    Raises:
        MountError: it stayed false for that many seconds; `what` is named.
    """
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise MountError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.05)


def mounts_below(base: Path) -> list[Path]:
    """The mount points in or below a directory, the oldest first."""
    table = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    points = [Path(line.split()[4].replace("\\040", " ")) for line in table]
    return [point for point in points if point.is_relative_to(base)]


def loops_below(base: Path) -> list[str]:
    """The loop devices whose image lies, or lay, below a directory."""
    loops = []
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            image = Path(file.read_text().strip().removesuffix(" (deleted)"))
        except OSError:
            continue  # detached since it was listed
        if image.is_relative_to(base):
            loops.append("/dev/" + file.parts[3])
    return loops


class Stage:
    """The directory of one mount, the commands run for it, and its tear-down.

    Args:
        base: the directory; made by `open`, removed by `sweep`.
        size: MiB of disk images and of file systems in memory.
    """

    def __init__(self, base: Path, size: int = 512) -> None:
        self.base = base.resolve()
        self.size = size
        self._cgroup = self.base / "cgroup"
        # the hierarchy is one for the machine, however often it is mounted
        self._group = self._cgroup / f"maildir-safe{self.base.as_posix().replace('/', '-')}"
        self._children: list[subprocess.Popen[bytes]] = []

    def open(self) -> None:
        """Make the directory and the control group.

        Raises:
            MountError: it exists (another mount of this kind is up there, or was left behind), or this
                process may not mount.
        """
        try:
            self.base.mkdir(parents=True)
        except FileExistsError:
            raise MountError(f"{self.base} exists: take that mount down first") from None
        self._cgroup.mkdir()
        mount = ["mount", "-t", "cgroup2", "none", str(self._cgroup)]
        if subprocess.run(mount, capture_output=True).returncode:
            self.sweep()
            raise MountError("cannot mount cgroup2: it needs root, and in a container the right to mount")
        self._group.mkdir(exist_ok=True)

    def folder(self, name: str) -> Path:
        """A directory of the stage, made if need be."""
        path = self.base / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        """Write a file of the stage, such as a server's configuration."""
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def image(self, *mkfs: str) -> Path:
        """A sparse disk image of `size` MiB with a file system: `mkfs` is the command without the image."""
        path = self.base / "disk.img"
        with path.open("wb") as file:
            file.truncate(self.size << 20)
        self.run(*mkfs, path)
        return path

    def namespace(self, host: str) -> Path:
        """A network namespace, made at its first use: a host of the stage, with its loopback up."""
        path = self.base / "net" / host
        if not path.exists():
            self.write(f"net/{host}", "")
            self.run("unshare", f"--net={path}", "ip", "link", "set", "lo", "up")
        return path

    def run(
        self,
        *command: str | Path,
        host: str = "",
        stdin: str = "",
        env: dict[str, str] | None = None,
        timeout: float = 90.0,
    ) -> str:
        """Run a command to its end; what it forks stays in the stage's control group.

        Args:
            command: program and arguments.
            host: network namespace to run in; also the sub-group that `kill` ends.
            stdin: what it reads.
            env: additions to its environment.
            timeout: seconds.

        Returns:
            What it printed on both its outputs.

        Raises:
            MountError: it is missing, failed, or took too long.
        """
        with tempfile.TemporaryFile() as out:  # not a pipe: a daemon may keep it open for ever
            try:
                status = subprocess.run(
                    self._inside(command, host),
                    input=stdin.encode(),
                    stdout=out,
                    stderr=out,
                    env=_environment(env),
                    timeout=timeout,
                ).returncode
            except subprocess.TimeoutExpired:
                raise MountError(f"{command[0]}: no end after {timeout:.0f} s") from None
            out.seek(0)
            text = out.read().decode(errors="replace")
        if status:
            raise MountError(f"{' '.join(map(str, command))}: status {status}: {text.strip()[-2000:]}")
        return text

    def retry(
        self, *command: str | Path, host: str = "", env: dict[str, str] | None = None, seconds: float = 60.0
    ) -> str:
        """Run a command until it succeeds: its server is just starting. Else as `run`.

        Raises:
            MountError: it still fails after that many seconds; the text is its last one.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.run(*command, host=host, env=env)
            except MountError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def spawn(self, *command: str | Path, host: str = "", env: dict[str, str] | None = None) -> None:
        """Start a server that stays in the foreground; its output goes to `log/` of the stage."""
        log = self.folder("log") / f"{Path(command[0]).name}.log"
        with log.open("ab") as out:
            child = subprocess.Popen(
                self._inside(command, host),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=_environment(env),
                start_new_session=True,
            )
        self._children.append(child)

    def listening(self, port: int, host: str) -> None:
        """Wait until something answers on a TCP port of a host's loopback."""
        probe = ["bash", "-c", f": </dev/tcp/127.0.0.1/{port}"]

        def answers() -> bool:
            return subprocess.run(self._inside(probe, host), stderr=subprocess.DEVNULL).returncode == 0

        wait_until(answers, f"port {port}", STARTING)

    def mounted(self, point: Path) -> Path:
        """Wait until something is mounted there; the same path again."""
        wait_until(lambda: point in mounts_below(point), f"a mount on {point}", STARTING)
        return point

    def processes(self, host: str) -> list[int]:
        """The process ids of one host, as this machine numbers them."""
        return [int(pid) for pid in (self._group / host / "cgroup.procs").read_text().split()]

    def kill(self, host: str) -> None:
        """End every process of one host at once, as a crash of that machine would."""
        self._end(self._group / host)

    def sweep(self, force: bool = False) -> None:
        """Take down whatever of the stage there is, from any state, and remove its directory.

        Args:
            force: end other processes that hold on to a loop device, such as a forgotten worker.

        Raises:
            MountError: something holds on to it (an open file in the mount, a process's directory).
        """
        points = [point for point in mounts_below(self.base) if point != self._cgroup]
        for point in reversed(points):  # servers still run: clients can write back and leave in peace
            _umount(point)
        if self._group.is_dir():
            self._end(self._group)
        for point in reversed(mounts_below(self.base)):
            if point != self._cgroup:
                _umount(point, "--lazy")
        for loop in loops_below(self.base):
            subprocess.run(["losetup", "-d", loop], capture_output=True)
        self._remove_groups()
        self._release_loops(force)
        left = mounts_below(self.base)
        if left:  # never remove files below a mount that is still there
            raise MountError(f"still mounted: {', '.join(map(str, left))}")
        if self.base.is_dir():
            shutil.rmtree(self.base)

    def _inside(self, command: tuple[str | Path, ...] | list[str], host: str) -> list[str]:
        group = self._group / host
        group.mkdir(exist_ok=True)
        enter = ["nsenter", f"--net={self.namespace(host)}"] if host else []
        return [*_ENTER_GROUP, str(group / "cgroup.procs"), *enter, *map(str, command)]

    def _end(self, group: Path) -> None:
        (group / "cgroup.kill").write_text("1")
        events = group / "cgroup.events"
        wait_until(lambda: "populated 0" in events.read_text(), f"the end of the processes in {group}")
        self._children = [child for child in self._children if child.poll() is None]

    def _release_loops(self, force: bool) -> None:
        def released() -> bool:
            return not loops_below(self.base)

        if force:
            with contextlib.suppress(MountError):
                wait_until(released, "those who are about to leave", 5.0)
            for pid in holders(loops_below(self.base)).keys() - {os.getpid()}:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        loops = loops_below(self.base)
        try:
            wait_until(released, f"the release of {', '.join(loops)}", RELEASE)
        except MountError as error:
            busy = "; ".join(holders(loops).values()) or "no process that /proc shows"
            raise MountError(f"{error}, held by {busy}") from None

    def _remove_groups(self) -> None:
        if not self._cgroup.is_mount():
            return
        if self._group.is_dir():
            for inner in self._group.iterdir():
                if inner.is_dir():
                    inner.rmdir()
            self._group.rmdir()
        _umount(self._cgroup)


def _environment(more: dict[str, str] | None) -> dict[str, str]:
    return {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", **(more or {})}


def _umount(point: Path, *options: str) -> None:
    # -i: umount.davfs would wait for its daemon, which the end of the group sees to
    try:
        subprocess.run(["umount", "-i", *options, str(point)], capture_output=True, timeout=30)
    except subprocess.TimeoutExpired:
        pass  # its server is away: the lazy one follows, after the end of the daemon
