"""OpenSMTPD: SMTP into its own queue, whose delivery is paused; Debian's package, unpacked.

It runs in a mount namespace of its own, with the users and directories that the package would make. Seen with
strace: no fsync before 250, neither of the message nor of its envelope.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.unpacked import unpacked

_CONFIGURATION = """\
listen on 127.0.0.1 port {port} hostname mx.example.net
action "out" relay host "smtp://127.0.0.1:1"
match from any for domain "example.org" action "out"
"""

# Paths and users are compiled in.
_START = """\
set -e
for kind in passwd group; do cp /etc/$kind {place}/$kind; done
for name in opensmtpd:60101 opensmtpq:60102; do
  id=${{name#*:}} name=${{name%:*}}
  echo "$name:x:$id:$id::/var/lib/opensmtpd/empty:/usr/sbin/nologin" >>{place}/passwd
  echo "$name:x:$id:" >>{place}/group
done
for kind in passwd group; do mount --bind {place}/$kind /etc/$kind; done
for path in /run /var/spool /var/lib /usr/libexec; do mount -t tmpfs none $path; done
mkdir -p /var/spool/smtpd /var/lib/opensmtpd/empty
mount --bind {place}/spool /var/spool/smtpd
cp -r {root}/usr/libexec/opensmtpd /usr/libexec/
exec {root}/usr/sbin/smtpd -d -P mta -f {place}/smtpd.conf
"""


def command(place: Path, port: int) -> list[str]:
    """What starts it, with its queue in `place`.

    Raises:
        FileNotFoundError: the package cannot be downloaded.
    """
    (place / "spool").mkdir()
    (place / "spool").chmod(0o711)
    (place / "smtpd.conf").write_text(_CONFIGURATION.format(port=port))
    script = place / "start"
    script.write_text(_START.format(place=place, root=unpacked("opensmtpd")))
    return ["unshare", "--mount", "sh", str(script)]


def queued(place: Path) -> int:
    """How many messages its queue holds."""
    return sum(1 for _ in place.glob("spool/queue/*/*/message"))
