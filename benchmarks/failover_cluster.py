"""Two mail hosts, three file servers (GlusterFS with an arbiter), a load balancer and a client: namespaces.

The mail hosts and the load balancer run the files of examples/two-hosts, with these addresses put in. Each
mail host has a network, a pid and a mount namespace and a host name of its own, so that no host can tell that
a process of the other has died, and both see the mail in /srv/mail.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.failover_client import DOMAIN, USERS
from benchmarks.mounts.gluster import set_options
from benchmarks.mounts.mount import KINDS, scratch
from benchmarks.mounts.network import join, plug
from benchmarks.mounts.stage import Stage, wait_until
from maildir_safe import Maildir, Queue

KIND = KINDS["gluster-arbiter"]
KIT = Path(__file__).parents[1] / "examples" / "two-hosts"
MAIL_HOSTS = {"c1": "mx1", "c2": "mx2"}  # as the mount's stage calls them, and as HAProxy does
_ADDRESSES = {
    "192.0.2.10": "10.77.0.201",
    "192.0.2.21": "10.77.0.101",
    "192.0.2.22": "10.77.0.102",
}
_START = 180.0  # seconds that a host may take on a busy machine
_ISOLATED = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts")


class Cluster:
    """The hosts of one run, up.

    Args:
        stage: where they live.
        paths: the mail, as each mail host has it mounted.
        lease: of the workers, in seconds; None: the default.

    Attributes:
        mail: the mount point of each mail host.
        bricks: the directories of the two file servers that have data.
    """

    def __init__(self, stage: Stage, paths: list[Path], lease: int | None) -> None:
        self._stage = stage
        self._lease = lease
        self.mail = dict(zip(MAIL_HOSTS, paths, strict=True))
        self.bricks = [stage.base / server / "brick" for server in ("s1", "s2")]

    def start(self) -> None:
        """Make the mailboxes, and start what the mail hosts and the load balancer run."""
        join(self._stage, {"lb": _ADDRESSES["192.0.2.10"], "client": "10.77.0.202"})
        words = [line.split() for line in _lines(KIT / "gluster-options.txt")]
        set_options(self._stage, dict(words))
        root, other = self.mail.values()
        probe = ("probe", str(root), "--second", str(other))
        self._stage.run(sys.executable, "-m", "maildir_safe", *probe, env=_environment(), timeout=300.0)
        (root / DOMAIN).mkdir()
        for user in range(USERS):
            Maildir(root / DOMAIN / f"user{user}")
        Queue(root / "spool").close()
        for host in MAIL_HOSTS:
            self.start_mail_host(host)
        self.start_balancer()

    def start_mail_host(self, host: str) -> None:
        """Start `serve` and `work` of a mail host, and wait until it is ready."""
        config = self._kit("serve.toml", host)
        variables = dict(line.split("=", 1) for line in _lines(self._kit("work-mail.env", host)))
        work = ["work", *variables["WORK"].split(), *self._lease_option(), "--", variables["SPOOL"]]
        for words in (["serve", "--config", str(config)], work):
            self._spawn(host, words)
        wait_until(lambda: self.ready(host), f"{host} to be ready", _START)

    def _lease_option(self) -> list[str]:
        return [] if self._lease is None else ["--lease", str(self._lease)]

    def _spawn(self, host: str, words: list[str]) -> None:
        log = self.log(host, words[0])
        command = shlex.join([sys.executable, "-m", "maildir_safe", *words])
        script = (
            f"hostname {MAIL_HOSTS[host]}; mount -t tmpfs none /srv; mkdir /srv/mail;"
            f"mount --bind {self.mail[host]} /srv/mail; cd /srv/mail; exec {command} >>{log} 2>&1"
        )
        self._stage.spawn(*_ISOLATED, "sh", "-ec", script, host=host, env=_environment())

    def _kit(self, name: str, host: str) -> Path:
        """A file of the kit with the addresses of this network; `metrics` is on the host itself."""
        text = (KIT / name).read_text()
        if host == "c2" and name == "serve.toml":
            text = text.replace("192.0.2.21", "192.0.2.22")
        for shown, used in _ADDRESSES.items():
            text = text.replace(shown, used)
        return self._stage.write(f"kit/{host}/{name}", text)

    def ready(self, host: str) -> bool:
        """Whether /readyz of a mail host says 200, asked from the load balancer."""
        number = "21" if host == "c1" else "22"
        url = f"http://{_ADDRESSES[f'192.0.2.{number}']}:9100/readyz"
        script = f"import urllib.request; urllib.request.urlopen({url!r}, timeout=6)"
        with contextlib.suppress(Exception):
            self._stage.run(sys.executable, "-c", script, host="lb")
            return True
        return False

    def start_balancer(self) -> None:
        """Start HAProxy, and wait until it passes clients on."""
        config = self._kit("haproxy.cfg", "lb")
        text = config.read_text().replace("/run/haproxy/admin.sock", str(self._stage.base / "haproxy"))
        config.write_text(text)
        self._stage.spawn("haproxy", "-db", "-f", str(config), host="lb")
        self._stage.listening(25, "lb")

    def stop_balancer(self) -> None:
        """End HAProxy, and with it every session that it passes on."""
        self._stage.kill("lb")

    def signal(self, host: str, number: int) -> list[int]:
        """Send a signal to `serve` and `work` of a mail host, not to its mount; their process ids."""
        ours = [pid for pid in self._stage.processes(host) if _is_ours(pid)]
        for pid in ours:
            os.kill(pid, number)
        return ours

    def stop_mail_host(self, host: str) -> None:
        """SIGTERM to `serve` and `work`, and wait for their end."""
        ours = self.signal(host, signal.SIGTERM)
        wait_until(lambda: not any(map(_is_ours, ours)), f"the end of {host}", _START)

    def crash(self, host: str) -> None:
        """Kill every process of a host at once: of a mail host its mount too."""
        self._stage.kill(host)

    def restart(self, host: str) -> None:
        """Start a host that was killed."""
        if KIND.restart is not None:
            KIND.restart(self._stage, host)
        if host in MAIL_HOSTS:
            self.start_mail_host(host)

    @contextlib.contextmanager
    def unplugged(self, host: str) -> Iterator[None]:
        """The network of one host is away for the length of a `with` block."""
        plug(self._stage, host, in_=False)
        try:
            yield
        finally:
            plug(self._stage, host, in_=True)

    @contextlib.contextmanager
    def client(self, ledger: Path, run: str, threads: int) -> Iterator[None]:
        """The client sends through the load balancer; at the end it has a 250 for every message."""
        words = [_ADDRESSES["192.0.2.10"], "25", str(ledger), run, str(threads)]
        command = [sys.executable, "-m", "benchmarks.failover_client", *words]
        self._stage.spawn(*command, host="client", env=_environment())
        wait_until(lambda: ledger.exists() and " 250" in ledger.read_text(), "the first 250", _START)
        try:
            yield
        finally:
            for pid in self._stage.processes("client"):
                os.kill(pid, signal.SIGTERM)
            wait_until(lambda: not self._running("client"), "the client's last 250", 180.0)

    def _running(self, host: str) -> bool:
        return any(_alive(pid) for pid in self._stage.processes(host))

    def log(self, host: str, what: str) -> Path:
        """What `serve` or `work` of a mail host has logged."""
        return self._stage.folder("log") / f"{host}.{what}"

    def logs(self) -> list[Path]:
        """What both mail hosts have logged."""
        return [self.log(host, what) for host in MAIL_HOSTS for what in ("serve", "work")]


@contextlib.contextmanager
def cluster(lease: int | None = None) -> Iterator[Cluster]:
    """A cluster for the length of a `with` block.

    Args:
        lease: of the workers, in seconds; None: the default.

    Raises:
        MountError: it does not come up.
    """
    with scratch() as base:
        stage = Stage(base / "failover")
        stage.open()
        try:
            made = Cluster(stage, KIND.start(stage), lease)
            made.start()
            yield made
        finally:
            stage.sweep(force=True)


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])}


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _is_ours(pid: int) -> bool:
    """Whether it is a `serve` or `work`, and not what holds its namespaces."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return _alive(pid) and words[1:3] == [b"-m", b"maildir_safe"]
