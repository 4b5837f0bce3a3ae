"""MooseFS: a master, two chunk servers and two clients, each a host of a private network."""

from __future__ import annotations

from pathlib import Path

from benchmarks.mounts.kind import Kind
from benchmarks.mounts.network import connect
from benchmarks.mounts.stage import Stage, wait_until

# a chunk server refuses to meet its master on 127.*, so these are hosts of a network
_HOSTS = {"m": "10.78.0.1", "k1": "10.78.0.11", "k2": "10.78.0.12", "c1": "10.78.0.101", "c2": "10.78.0.102"}
_MASTER = """\
WORKING_USER = root
WORKING_GROUP = root
DATA_PATH = {home}
EXPORTS_FILENAME = {home}/exports.cfg
TOPOLOGY_FILENAME = {home}/topology.cfg
LOCK_MEMORY = 0
REPLICATIONS_DELAY_INIT = 5
"""
_CHUNKS = """\
WORKING_USER = root
WORKING_GROUP = root
DATA_PATH = {home}
HDD_CONF_FILENAME = {home}/disks.cfg
HDD_LEAVE_SPACE_DEFAULT = 256MiB
MASTER_HOST = {master}
"""


def _moosefs(stage: Stage) -> list[Path]:
    connect(stage, _HOSTS)
    home = stage.folder("m")
    stage.write("m/exports.cfg", "* / rw,alldirs,maproot=0\n")
    stage.write("m/topology.cfg", "")
    stage.write("m/metadata.mfs", "MFSM NEW")  # an empty file system
    stage.write("m/config", _MASTER.format(home=home))
    _serve(stage, "m")
    for host in ("k1", "k2"):
        disk = stage.folder(f"{host}/disk")
        stage.write(f"{host}/disks.cfg", f"~{disk}\n")  # ~: a directory, not a mount point of its own
        stage.write(f"{host}/config", _CHUNKS.format(home=stage.base / host, master=_HOSTS["m"]))
        _serve(stage, host)
    points = [_client(stage, "c1", "A"), _client(stage, "c2", "B")]
    wait_until(lambda: _writable(points[0]), "space on the chunk servers", 60.0)
    return points


def _serve(stage: Stage, host: str) -> None:
    program = "mfsmaster" if host == "m" else "mfschunkserver"
    # -a: after a crash the master restores its metadata from the change log
    action = ["-a", "start"] if host == "m" else ["start"]
    stage.run(program, "-c", stage.base / host / "config", *action, host=host)


def _client(stage: Stage, host: str, name: str) -> Path:
    point = stage.folder(name)
    stage.retry("mfsmount", point, "-H", _HOSTS["m"], host=host)
    return stage.mounted(point)


def _writable(point: Path) -> bool:
    try:
        (point / ".ready").write_text("x")
    except OSError:
        return False
    (point / ".ready").unlink()
    return True


KINDS = (
    Kind("moosefs", "MooseFS, two chunk servers",
         ("moosefs-master", "moosefs-chunkserver", "moosefs-client", "iproute2"), _moosefs, restart=_serve),
)  # fmt: skip
