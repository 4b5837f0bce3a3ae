"""Postfix: SMTP in, through its own queue, into a Maildir by virtual(8); a private instance.

`accepting` is its first half alone. Seen with strace: cleanup fsyncs the queue file before 250,
and no directory.
"""

from __future__ import annotations

import os
import pwd
import smtplib
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benchmarks.deliver_rounds import Contender, Deliver
from benchmarks.peers.peer import Peer

_NOBODY = 65534  # virtual(8) delivers to no account of root's

_MAIN = """\
compatibility_level = 3.6
queue_directory = {place}/queue
data_directory = {place}/data
maillog_file = {place}/log
maillog_file_prefixes = {place}
myhostname = mx.example.net
mydestination =
inet_interfaces = 127.0.0.1
mynetworks = 127.0.0.0/8
local_header_rewrite_clients =
alias_maps =
smtpd_relay_restrictions = permit_mynetworks, reject
smtp_dns_support_level = disabled
virtual_mailbox_domains = example.org
virtual_mailbox_base = /
virtual_mailbox_maps = static:{box}/
virtual_uid_maps = static:{nobody}
virtual_gid_maps = static:{nobody}
virtual_minimum_uid = 1
virtual_mailbox_limit = 0
"""

_HOLD = """\
smtpd_client_restrictions = check_client_access static:HOLD
default_process_limit = 300
in_flow_delay = 0
"""

_RELAY = """\
virtual_mailbox_domains =
relay_domains = example.org
relay_transport = smtp
relayhost = [127.0.0.1]:{port}
smtp_destination_concurrency_limit = {connections}
initial_destination_concurrency = {connections}
"""

_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
showq unix n - n - - showq
virtual unix - n n - - virtual
smtp unix - - n - - smtp
scache unix - - n - 1 scache
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


@contextmanager
def _virtual(box: Path) -> Iterator[Deliver]:
    """One connection; a message counts when it is in the Maildir."""
    for directory in (box, *box.iterdir()):
        os.chown(directory, _NOBODY, _NOBODY)
    with running(box) as port, smtplib.SMTP("127.0.0.1", port) as session:
        yield lambda messages: _send(session, messages, box / "new")


def accepting(box: Path) -> AbstractContextManager[int]:
    """A Postfix that takes mail by SMTP and holds it in its queue: what it does before 250, no more."""
    return running(box, _HOLD)


def queued(box: Path) -> int:
    """How many messages a Postfix that is `accepting` holds."""
    return sum(path.is_file() for path in box.with_name("postfix").glob("queue/hold/**/*"))


def relaying(box: Path, port: int, connections: int) -> AbstractContextManager[int]:
    """A Postfix that takes mail by SMTP and holds it; what is released it relays.

    Args:
        box: its queue lies beside this directory.
        port: of the server that it relays to.
        connections: most at a time.
    """
    return running(box, _HOLD + _RELAY.format(port=port, connections=connections))


def command(box: Path, *words: str) -> None:
    """Run postsuper or postqueue on the queue beside `box`."""
    program, *arguments = words
    config = str(box.with_name("postfix") / "config")
    subprocess.run([f"/usr/sbin/{program}", "-c", config, *arguments], check=True, capture_output=True)


def waiting(box: Path) -> int:
    """How many messages are in the queue beside `box`, and not held."""
    queue = box.with_name("postfix") / "queue"
    return sum(
        len(names) for part in ("incoming", "active", "deferred") for _, _, names in os.walk(queue / part)
    )


@contextmanager
def running(box: Path, more: str = "") -> Iterator[int]:
    """The port of a Postfix whose queue lies beside the Maildir, on the same disk.

    Args:
        box: where it delivers.
        more: lines of main.cf.
    """
    place = box.with_name("postfix")
    for above in box.parents:  # neither the servers nor the delivery agent are root
        above.chmod(above.stat().st_mode | 0o011)
    for name in ("config", "queue", "data"):
        (place / name).mkdir(parents=True)
    os.chown(place / "data", pwd.getpwnam("postfix").pw_uid, -1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    fill = {"place": place, "box": box, "nobody": _NOBODY, "port": port}
    (place / "config/main.cf").write_text(_MAIN.format(**fill) + more)
    (place / "config/master.cf").write_text(_MASTER.format(**fill))
    command = ["/usr/sbin/postfix", "-c", str(place / "config")]
    subprocess.run([*command, "start"], check=True, capture_output=True)
    try:
        _wait_for(port)
        yield port
    finally:
        subprocess.run([*command, "stop"], check=True, capture_output=True)
        subprocess.run(["rm", "-rf", str(place)], check=True)  # the round's Maildirs are all that stays


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            smtplib.SMTP("127.0.0.1", port).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _send(session: smtplib.SMTP, messages: Sequence[bytes], new: Path) -> None:
    before = len(os.listdir(new))
    for message in messages:
        lines = message.replace(b"\n", b"\r\n")  # smtplib sends bytes as they are
        session.sendmail("bench@example.org", ["box@example.org"], lines)
    deadline = time.monotonic() + 60
    while len(os.listdir(new)) < before + len(messages) and time.monotonic() < deadline:
        time.sleep(0.01)  # what is missing then is found to be lost


POSTFIX = Peer(
    Contender("Postfix SMTP, queue, virtual", "file only", _virtual, adds_headers=True),
    "/usr/sbin/postfix",
    "postfix",
)
