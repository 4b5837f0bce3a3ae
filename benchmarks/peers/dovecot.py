"""Dovecot's LMTP server, with a configuration of its own, on a socket in a directory of its own."""

from __future__ import annotations

import os
import smtplib
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.deliver_rounds import Contender, Deliver
from benchmarks.peers.peer import Peer

_NOBODY = 65534  # Dovecot delivers to no account of root's

_CONFIGURATION = """\
base_dir = {place}/run
state_dir = {place}/state
log_path = {place}/log
protocols = lmtp
ssl = no
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
first_valid_uid = {nobody}
mail_location = maildir:{box}
mail_fsync = always
passdb {{
  driver = static
  args = nopassword=yes
}}
userdb {{
  driver = static
  args = uid={nobody} gid={nobody} home={place}/home allow_all_users=yes
}}
service lmtp {{
  process_limit = 300
  unix_listener {place}/socket {{
    mode = 0600
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"""


@contextmanager
def _lmtp(box: Path) -> Iterator[Deliver]:
    """One connection, one message after the other."""
    with serving(box) as socket, smtplib.LMTP(str(socket)) as session:
        yield lambda messages: _send(session, messages)


@contextmanager
def serving(box: Path) -> Iterator[Path]:
    """The socket of a Dovecot that delivers to `box` by LMTP."""
    for directory in (box, *box.iterdir()):
        os.chown(directory, _NOBODY, _NOBODY)
    for above in box.parents:  # the server is not root when it delivers
        above.chmod(above.stat().st_mode | 0o011)
    with tempfile.TemporaryDirectory(prefix="dovecot.") as name:
        place = Path(name)
        place.chmod(0o755)
        (place / "home").mkdir()
        os.chown(place / "home", _NOBODY, _NOBODY)
        configuration = place / "dovecot.conf"
        configuration.write_text(_CONFIGURATION.format(place=place, box=box, nobody=_NOBODY))
        server = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", configuration], stderr=subprocess.DEVNULL)
        try:
            _wait_for(place / "socket", server)
            yield place / "socket"
        finally:
            server.terminate()
            server.wait(20)


def _wait_for(socket: Path, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            smtplib.LMTP(str(socket)).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _send(session: smtplib.LMTP, messages: Sequence[bytes]) -> None:
    for message in messages:
        lines = message.replace(b"\n", b"\r\n")  # smtplib sends bytes as they are
        refused = session.sendmail("bench@example.org", ["box@example.org"], lines)
        if refused:
            raise RuntimeError(f"refused: {refused}")


DOVECOT = Peer(
    Contender("Dovecot LMTP, one connection", "yes", _lmtp, adds_headers=True),
    "/usr/lib/dovecot/lmtp",
    "dovecot-lmtpd",
)
