"""GlusterFS: one to three servers and two clients, each a host of a private network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.mounts.kind import Kind
from benchmarks.mounts.network import connect
from benchmarks.mounts.stage import Stage, wait_until

_PACKAGES = ("glusterfs-server", "glusterfs-client", "iproute2")
_VOLUME = "mail"
_POINTS = {"c1": "A", "c2": "B"}


def _address(host: str) -> str:
    """s1 -> 10.77.0.1, c1 -> 10.77.0.101."""
    return f"10.77.0.{int(host[1:]) + (100 if host[0] == 'c' else 0)}"


def _gluster(servers: int, *layout: str) -> Callable[[Stage], list[Path]]:
    hosts = [f"s{number + 1}" for number in range(servers)]

    def start(stage: Stage) -> list[Path]:
        Path("/var/run/gluster").mkdir(exist_ok=True)  # compiled in
        connect(stage, {host: _address(host) for host in [*hosts, "c1", "c2"]})
        for host in hosts:
            _serve(stage, host)
        for host in hosts:
            stage.retry(*_question(stage, host, "pool", "list"), host=host)
        for host in hosts[1:]:
            _ask(stage, "s1", "peer", "probe", _address(host))
        wait_until(lambda: _connected(stage, hosts), "the servers to know each other")
        bricks = [f"{_address(host)}:{stage.folder(host)}/brick" for host in hosts]
        _ask(stage, "s1", "volume", "create", _VOLUME, *layout, *bricks, "force")  # on the root file system
        _ask(stage, "s1", "volume", "set", _VOLUME, "network.ping-timeout", "5")
        _ask(stage, "s1", "volume", "start", _VOLUME)
        return [_mount(stage, client, hosts) for client in ("c1", "c2")]

    return start


def set_options(stage: Stage, options: dict[str, str]) -> None:
    """Set options of the volume, such as ``{"network.ping-timeout": "5"}``.

    Raises:
        MountError: there is no such option, or its value is none.
    """
    for name, value in options.items():
        _ask(stage, "s1", "volume", "set", _VOLUME, name, value)


def _restart(stage: Stage, host: str) -> None:
    if host[0] == "s":
        _serve(stage, host)
        return
    stage.run("umount", "--lazy", stage.base / _POINTS[host])
    _mount(stage, host, sorted(path.name for path in stage.base.glob("s[0-9]")))


def _serve(stage: Stage, host: str) -> None:
    """glusterd, which starts this host's bricks and self-heal daemon too."""
    home = stage.folder(host)
    for stale in home.rglob("*.pid"):  # a machine that crashed comes back with an empty /run
        stale.unlink()
    options = {
        "working-directory": stage.folder(f"{host}/work"),
        "run-directory": stage.folder(f"{host}/run"),
        "glusterd-sockfile": home / "socket",
        "cluster-test-mode": stage.folder(f"{host}/log"),  # bricks log here, not in /var/log
    }
    settings = [f"--xlator-option=management.{name}={value}" for name, value in options.items()]
    stage.run("glusterd", "-p", home / "glusterd.pid", "-l", home / "glusterd.log", *settings, host=host)


def _ask(stage: Stage, host: str, *question: str) -> str:
    return stage.run(*_question(stage, host, *question), host=host)


def _question(stage: Stage, host: str, *question: str) -> list[str]:
    home = stage.base / host
    where = (f"--glusterd-sock={home}/socket", f"--log-file={home}/cli.log")
    return ["gluster", "--mode=script", "--wignore", *where, *question]


def _connected(stage: Stage, hosts: list[str]) -> bool:
    peers = len(hosts) - 1
    return all(_ask(stage, host, "peer", "status").count("(Connected)") == peers for host in hosts)


def _mount(stage: Stage, client: str, servers: list[str]) -> Path:
    point = stage.folder(_POINTS[client])
    sources = [f"--volfile-server={_address(server)}" for server in servers]
    log = stage.folder("log") / f"{client}.log"
    stage.run("glusterfs", *sources, f"--volfile-id={_VOLUME}", "-l", log, point, host=client)
    return stage.mounted(point)


KINDS = (
    Kind("gluster", "GlusterFS, one server", _PACKAGES, _gluster(1), restart=_restart),
    Kind(
        "gluster-replica2",
        "GlusterFS, two copies (two servers can disagree)",
        _PACKAGES,
        _gluster(2, "replica", "2"),
        restart=_restart,
    ),
    Kind(
        "gluster-arbiter",
        "GlusterFS, two copies and an arbiter",
        _PACKAGES,
        _gluster(3, "replica", "2", "arbiter", "1"),
        restart=_restart,
    ),
)
