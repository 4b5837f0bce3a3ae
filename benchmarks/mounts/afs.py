"""AFS: OpenAFS servers, and the kernel's own kAFS as their client, which has no cache on disk."""

from __future__ import annotations

import socket
from pathlib import Path

from benchmarks.mounts.kind import Kind
from benchmarks.mounts.stage import Stage

_SERVER = "10.77.0.1"
_CELL = "lab.test"
_VOLUME = (_SERVER, "a", "root.cell")
_KEY = b"\0\0\0\1\0\0\0\0\x01\x23\x45\x67\x89\xab\xcd\xef"  # one key, number 0
# an access list in a dump: all rights of system:administrators (-204), and those of system:anyuser (-101)
_ADMINISTRATORS, _ANYUSER = b"\xff\xff\xff\x34\0\0\0\x7f", b"\xff\xff\xff\x9b\0\0\0\x7f"
_LIB = Path("/usr/lib/openafs")


def _afs(stage: Stage) -> list[Path]:
    # no hosts of their own: kAFS mounts in the first network namespace only (6.1 hangs in others), and the
    # servers want an address that is not the loopback's
    stage.run("ip", "link", "add", "afs", "type", "veth", "peer", "name", "afs-end")
    stage.run("ip", "address", "add", f"{_SERVER}/24", "dev", "afs")
    stage.run("ip", "link", "set", "dev", "afs", "up")
    stage.run("ip", "link", "set", "dev", "afs-end", "up")
    _configure()
    for program in ("vlserver", "ptserver"):
        stage.spawn(_LIB / program)
    stage.retry("pts", "createuser", "admin", "-localauth")
    # of a volume that is unknown it says so as soon as the servers have elected themselves
    question = 'vos addsite "$@" 2>&1 | grep "no such entry"'
    stage.retry("sh", "-c", question, "sh", _SERVER, "a", "none", "-localauth")
    for command in (["dafileserver", "-L"], ["davolserver"], ["salvageserver"]):
        stage.spawn(_LIB / command[0], *command[1:])
    stage.retry("vos", "create", *_VOLUME, "-localauth")
    _open_to_all(stage)
    stage.run("modprobe", "kafs", f"rootcell={_CELL}:{_SERVER}")
    point = stage.folder("A")
    stage.retry("mount", "-t", "afs", f"%{_CELL}:root.cell.", point)
    return [point]


def _configure() -> None:
    """The paths are compiled in, so this is one cell a machine; its server goes by the machine's name."""
    Path("/etc/hosts").write_text(f"127.0.0.1 localhost\n{_SERVER} {socket.gethostname()}\n")
    etc = Path("/etc/openafs")
    for place in (etc, etc / "server"):
        place.mkdir(parents=True, exist_ok=True)
        (place / "ThisCell").write_text(f"{_CELL}\n")
        (place / "CellServDB").write_text(f">{_CELL} #lab\n{_SERVER} #lab\n")
    (etc / "server" / "KeyFile").write_bytes(_KEY)
    for place in (Path("/var/lib/openafs/db"), Path("/var/lib/openafs/local"), Path("/var/log/openafs")):
        place.mkdir(parents=True, exist_ok=True)
    Path("/vicepa").mkdir(exist_ok=True)
    Path("/vicepa/AlwaysAttach").touch()  # though it is no partition of its own


def _open_to_all(stage: Stage) -> None:
    """Give everybody every right in the volume: nobody has a ticket here."""
    dump = stage.base / "volume.dump"
    stage.run("vos", "dump", "root.cell", "-file", dump, "-localauth")
    dump.write_bytes(dump.read_bytes().replace(_ADMINISTRATORS, _ANYUSER))
    stage.run("vos", "restore", *_VOLUME, dump, "-overwrite", "full", "-localauth")


_PACKAGES = ("openafs-fileserver", "openafs-dbserver", "openafs-client", "iproute2")
KINDS = (Kind("afs", "AFS: OpenAFS servers, kAFS", _PACKAGES, _afs, "afs", guest=True),)
