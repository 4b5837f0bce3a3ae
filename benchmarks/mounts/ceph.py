"""CephFS: one monitor, manager, metadata server and store in memory; two ceph-fuse clients."""

from __future__ import annotations

import uuid
from pathlib import Path

from benchmarks.mounts.kind import Kind
from benchmarks.mounts.stage import Stage

_PACKAGES = ("ceph-mon", "ceph-mgr", "ceph-osd", "ceph-mds", "ceph-fuse", "ceph-common")
_ADDRESS = "v2:127.0.0.1:3300"
_CONFIG = """\
[global]
fsid = {fsid}
mon_host = {address}
public_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
auth_allow_insecure_global_id_reclaim = false
run_dir = {base}/run
admin_socket = {base}/run/$name.$pid.asok
log_file = {base}/log/$name.log
crash_dir = {base}/log
keyring = {base}/keyring
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
memstore_device_bytes = 1G
mon_allow_pool_size_one = true
mon_data_avail_crit = 1
mon_data = {base}/mon
mgr_data = {base}/mgr
mds_data = {base}/mds
osd_data = {base}/osd
ms_bind_ipv6 = false
"""


def _cephfs(stage: Stage) -> list[Path]:
    for folder in ("mon", "mgr", "mds", "osd", "run", "log"):
        stage.folder(folder)
    fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
    stage.write("ceph.conf", _CONFIG.format(base=stage.base, fsid=fsid, address=_ADDRESS))
    keyring, monmap = stage.base / "keyring", stage.base / "monmap"
    _run(stage, "ceph-authtool", keyring, "-C", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
    _run(stage, "monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[{_ADDRESS}]", monmap)
    _run(stage, "ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
    _serve(stage, "ceph-mon", "a")
    _serve(stage, "ceph-mgr", "x")
    _run(stage, "ceph", "osd", "new", osd)
    _run(stage, "ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
    _serve(stage, "ceph-osd", "0")
    _serve(stage, "ceph-mds", "a")
    for pool in ("meta", "data"):
        _run(stage, "ceph", "osd", "pool", "create", pool, "8")
    _run(stage, "ceph", "fs", "new", "mail", "meta", "data")
    return [_client(stage, name) for name in ("A", "B")]


def _serve(stage: Stage, program: str, name: str) -> None:
    stage.spawn(program, "-f", "-i", name, host="lan", env=_environment(stage))


def _run(stage: Stage, *command: str | Path) -> str:
    return stage.run(*command, host="lan", env=_environment(stage))


def _client(stage: Stage, name: str) -> Path:
    point = stage.folder(name)
    # it gives up at once while no metadata server is active
    stage.retry("ceph-fuse", point, "--client_mountpoint=/", host="lan", env=_environment(stage))
    return stage.mounted(point)


def _environment(stage: Stage) -> dict[str, str]:
    return {"CEPH_CONF": str(stage.base / "ceph.conf")}


KINDS = (Kind("cephfs", "CephFS on one node, ceph-fuse", _PACKAGES, _cephfs),)
