"""NFS by the kernel on both sides: one server and two clients, each a host of a private network.

Only in the guest: the server's threads belong to the kernel, and would hold the export after a tear-down.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.mounts.kind import Kind
from benchmarks.mounts.network import connect
from benchmarks.mounts.stage import Stage

_PACKAGES = ("nfs-kernel-server", "nfs-common", "rpcbind", "e2fsprogs", "iproute2")
_HOSTS = {"s1": "10.77.0.1", "c1": "10.77.0.101", "c2": "10.77.0.102"}
# a server's own view of the system: $0 is its home
_VIEW = (
    'mount -t nfsd nfsd /proc/fs/nfsd; mount --bind "$0/exports" /etc/exports; '
    'mount --bind "$0/var" /var/lib/nfs; mount --bind "$0/run" /run; exec "$@"'
)


def _nfs(version: str) -> Callable[[Stage], list[Path]]:
    def start(stage: Stage) -> list[Path]:
        stage.run("modprobe", "-a", "nfsd", "nfs")
        connect(stage, _HOSTS)
        _serve(stage)
        return [_client(stage, host, version) for host in ("c1", "c2")]

    return start


def _serve(stage: Stage) -> None:
    export = stage.folder("export")
    stage.run("mount", "-o", "loop", stage.image("mkfs.ext4", "-q"), export)
    home = stage.folder("s1")
    stage.write("s1/exports", f"{export} *(rw,sync,no_root_squash,no_subtree_check,insecure,fsid=0)\n")
    for folder in ("run", "var/sm", "var/v4recovery"):
        stage.folder(f"s1/{folder}")
    for file in ("etab", "rmtab", "state"):
        stage.write(f"s1/var/{file}", "")

    def run(*command: str) -> None:
        stage.run("unshare", "--mount", "sh", "-ec", _VIEW, home, *command, host="s1")

    run("rpcbind", "-w")
    run("exportfs", "-ra")
    run("rpc.nfsd", "--lease-time", "10", "--grace-time", "10", "4")
    run("rpc.mountd")


def _client(stage: Stage, host: str, version: str) -> Path:
    point = stage.folder("A" if host == "c1" else "B")
    source = f"{_HOSTS['s1']}:{stage.base / 'export' if version == '3' else '/'}"
    options = f"vers={version}" + (",nolock" if version == "3" else "")  # locks would need another daemon
    # with a host name of its own: else the server takes both for one client that keeps restarting
    mount = f"hostname {host}; exec mount -t nfs -o {options} {source} {point}"
    stage.run("unshare", "--uts", "sh", "-ec", mount, host=host)
    (point / ".ready").touch()  # waits out the server's ten seconds of grace
    return point


KINDS = tuple(
    Kind(f"nfs{version.replace('.', '')}", f"NFS {version}, server and clients of the kernel", _PACKAGES,
         _nfs(version), "nfs" if version == "3" else "nfs4", guest=True)
    for version in ("3", "4.0", "4.1", "4.2")
)  # fmt: skip
