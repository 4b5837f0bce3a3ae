"""AFS: OpenAFS servers, and the kernel's own kAFS as their client, which has no cache on disk."""

from __future__ import annotations

from pathlib import Path

from benchmarks.mounts.kind import Kind
from benchmarks.mounts.network import connect
from benchmarks.mounts.stage import MountError, Stage, wait_until

_SERVER = "10.77.0.1"
_CELL = "lab.test"
_VOLUME = (_SERVER, "a", "root.cell")
_KEY = b"\0\0\0\1\0\0\0\0\x01\x23\x45\x67\x89\xab\xcd\xef"  # one key, number 0
# an access list in a dump: all rights of system:administrators (-204), and those of system:anyuser (-101)
_ADMINISTRATORS, _ANYUSER = b"\xff\xff\xff\x34\0\0\0\x7f", b"\xff\xff\xff\x9b\0\0\0\x7f"
_LIB = Path("/usr/lib/openafs")


def _afs(stage: Stage) -> list[Path]:
    connect(stage, {"s1": _SERVER, "c1": "10.77.0.101"})
    _configure()
    for program in ("vlserver", "ptserver"):
        stage.spawn(_LIB / program, host="s1")
    wait_until(lambda: _works(stage, "pts", "createuser", "admin"), "the protection server", 60.0)
    # an unknown volume is "no such entry" as soon as the servers have elected themselves
    wait_until(
        lambda: "no such entry" in _asked(stage, "vos", "addsite", _SERVER, "a", "none"), "a quorum", 60.0
    )
    for command in (["dafileserver", "-L"], ["davolserver"], ["salvageserver"]):
        stage.spawn(_LIB / command[0], *command[1:], host="s1")
    wait_until(lambda: _works(stage, "vos", "create", *_VOLUME), "the volume server", 60.0)
    _open_to_all(stage)
    stage.run("modprobe", "kafs", f"rootcell={_CELL}:{_SERVER}")
    point = stage.folder("A")
    mount = ("mount", "-t", "afs", f"%{_CELL}:root.cell.", str(point))
    wait_until(lambda: _run(stage, *mount, host="c1"), "the file server", 60.0)
    return [point]


def _configure() -> None:
    """The paths are compiled in, so this is one cell a machine."""
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
    stage.run("vos", "dump", "root.cell", "-file", dump, "-localauth", host="s1")
    dump.write_bytes(dump.read_bytes().replace(_ADMINISTRATORS, _ANYUSER))
    stage.run("vos", "restore", *_VOLUME, dump, "-overwrite", "full", "-localauth", host="s1")


def _works(stage: Stage, *command: str) -> bool:
    return _run(stage, *command, "-localauth", host="s1")


def _asked(stage: Stage, *command: str) -> str:
    try:
        return stage.run(*command, "-localauth", host="s1")
    except MountError as error:
        return str(error)


def _run(stage: Stage, *command: str, host: str) -> bool:
    try:
        stage.run(*command, host=host)
    except MountError:
        return False
    return True


_PACKAGES = ("openafs-fileserver", "openafs-dbserver", "openafs-client", "iproute2")
KINDS = (Kind("afs", "AFS: OpenAFS servers, kAFS", _PACKAGES, _afs, "afs", guest=True),)
