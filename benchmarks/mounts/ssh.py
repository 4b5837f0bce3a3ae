"""sshfs: two clients of a private sshd."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.mounts.kind import Kind
from benchmarks.mounts.stage import Stage

_PACKAGES = ("openssh-server", "openssh-client", "sshfs")
_SSHD = """\
ListenAddress 127.0.0.1
HostKey {base}/hostkey
PidFile none
AuthorizedKeysFile {base}/id.pub
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
Subsystem sftp internal-sftp
"""


def _sshfs(*options: str) -> Callable[[Stage], list[Path]]:
    def start(stage: Stage) -> list[Path]:
        for key in ("hostkey", "id"):
            stage.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stage.base / key)
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd has this path compiled in
        stage.spawn(
            "/usr/sbin/sshd",
            "-De",
            "-f",
            stage.write("sshd_config", _SSHD.format(base=stage.base)),
            host="lan",
        )
        stage.listening(22, "lan")
        login = f"IdentityFile={stage.base}/id,StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null"
        source = f"root@127.0.0.1:{stage.folder('export')}"
        points = [stage.folder("A"), stage.folder("B")]
        for point in points:
            stage.run("sshfs", "-o", ",".join([login, "LogLevel=ERROR", *options]), source, point, host="lan")
        return [stage.mounted(point) for point in points]

    return start


KINDS = (
    Kind("sshfs", "sshfs, which takes link() but shows two files", _PACKAGES, _sshfs()),
    Kind("sshfs-nolink", "sshfs that refuses link()", _PACKAGES, _sshfs("disable_hardlink")),
)
