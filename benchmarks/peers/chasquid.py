"""chasquid: SMTP into its own queue; Debian's package, unpacked.

It cannot be told not to deliver, and starts its delivery agent, here /bin/true, once a message.
It looks up the sender's SPF; a resolver that refuses at once keeps the network out of it.
Seen with strace: a new file and a rename, and no fsync before 250.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.peers.unpacked import unpacked

_CONFIGURATION = """\
hostname: "mx.example.net"
smtp_address: "127.0.0.1:{port}"
mail_delivery_agent_bin: "/bin/true"
data_dir: "{place}/data"
mail_log_path: "{place}/log"
"""


def command(place: Path, port: int) -> list[str]:
    """What starts it, with its queue in `place`.

    Raises:
        FileNotFoundError: the package cannot be downloaded.
    """
    programs = unpacked("chasquid") / "usr/bin"
    certificate = place / "config/certs/mx.example.net"  # it does not start without one
    for directory in (certificate, place / "config/domains/example.org", place / "data"):
        directory.mkdir(parents=True)
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=mx.example.net"]
    files = ["-keyout", f"{certificate}/privkey.pem", "-out", f"{certificate}/fullchain.pem"]
    subprocess.run([*openssl, *files], check=True, capture_output=True)
    (place / "config/chasquid.conf").write_text(_CONFIGURATION.format(place=place, port=port))
    user = ["user-add", "box@example.org", "--password=x"]
    subprocess.run(
        [programs / "chasquid-util", f"--configdir={place}/config", *user], check=True, capture_output=True
    )
    (place / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    start = f"mount --bind {place}/resolv.conf /etc/resolv.conf && exec {programs}/chasquid"
    return ["unshare", "--mount", "sh", "-c", f"{start} --config_dir={place}/config"]
