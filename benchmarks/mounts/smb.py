"""SMB: two clients of a private Samba server, in user space (smbnetfs) or by the kernel (cifs)."""

from __future__ import annotations

from pathlib import Path

from benchmarks.mounts.kind import Kind
from benchmarks.mounts.network import connect
from benchmarks.mounts.stage import Stage

_SERVER = """\
[global]
  server role = standalone server
  interfaces = {interfaces}
  bind interfaces only = yes
  smb ports = 445
  disable netbios = yes
  private dir = {base}/private
  lock directory = {base}/lock
  state directory = {base}/state
  cache directory = {base}/cache
  pid directory = {base}/pid
  ncalrpc dir = {base}/ncalrpc
  log file = {base}/log/smbd.log
  map to guest = bad user
  guest account = root
  load printers = no
  server min protocol = SMB2
  client min protocol = SMB2
  client max protocol = SMB3
  mangled names = no
[mail]
  path = {base}/export
  guest ok = yes
  read only = no
  force user = root
  create mask = 0600
  store dos attributes = no
"""


def _smbnetfs(stage: Stage) -> list[Path]:
    """smbnetfs knows no port but 445, and Samba shuns addresses of the loopback but 127.0.0.1."""
    _serve(stage, "lan", "lo")
    return [_neighbourhood(stage, name) for name in ("A", "B")]


def _cifs(stage: Stage) -> list[Path]:
    connect(stage, {"s1": "10.77.0.1", "c1": "10.77.0.101", "c2": "10.77.0.102"})
    _serve(stage, "s1", "lo lan")
    points = [stage.folder("A"), stage.folder("B")]
    for host, point in zip(("c1", "c2"), points, strict=True):
        stage.run("mount", "-t", "cifs", "-o", "guest,vers=3.1.1", "//10.77.0.1/mail", point, host=host)
    return points


def _serve(stage: Stage, host: str, interfaces: str) -> None:
    for folder in ("private", "lock", "state", "cache", "pid", "ncalrpc", "log", "export"):
        stage.folder(folder)
    stage.base.joinpath("private").chmod(0o700)
    config = stage.write("smb.conf", _SERVER.format(base=stage.base, interfaces=interfaces))
    stage.run("smbpasswd", "-c", config, "-s", "-a", "root", host=host, stdin="secret\nsecret\n")
    stage.spawn("smbd", "-F", "--no-process-group", "-s", config, host=host)
    stage.listening(445, host)


def _neighbourhood(stage: Stage, name: str) -> Path:
    """smbnetfs mounts a neighbourhood: the share is a directory in it."""
    point, home = stage.folder(name), stage.base / f"home-{name}"
    stage.write(f"home-{name}/.smb/smb.conf", _SERVER.format(base=stage.base, interfaces="lo"))
    login = 'auth "127.0.0.1" "root" "secret"\nhost 127.0.0.1 visible=true\n'
    stage.write(f"home-{name}/.smb/smbnetfs.conf", login, 0o600)
    stage.run("smbnetfs", point, "-o", "allow_other", host="lan", env={"HOME": str(home)})
    return stage.mounted(point) / "127.0.0.1" / "mail"


KINDS = (
    Kind("smbnetfs", "SMB in user space", ("samba", "smbnetfs"), _smbnetfs),
    Kind("cifs", "SMB 3.1.1 by the kernel", ("samba", "cifs-utils", "iproute2"), _cifs, "cifs", guest=True),
)
