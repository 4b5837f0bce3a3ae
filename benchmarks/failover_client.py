"""A mail client that keeps a ledger: it sends until it is told 250, through refusals and lost connections.

python -m benchmarks.failover_client HOST PORT LEDGER RUN THREADS

It ends on SIGTERM, when each thread has a 250 for its last message. Each line of the ledger is
`time number event`, with the event `250`; `refused`, answered 4xx before the end of the data; `unsure`,
answered 4xx after it; `broken`, the connection ended before the end of the data was sent; or `unanswered`,
it ended after that and no reply came. Every other message has an ENVID, by which a second try is recognised.
"""

from __future__ import annotations

import contextlib
import signal
import smtplib
import sys
import threading
import time
from typing import TextIO

USERS = 4
DOMAIN = "example.com"
_A_CONNECTION = 10  # messages
_PAUSE = 0.05  # seconds after each message of a thread: the load is steady, not the most that goes
_RETRY = 0.1
_PATIENCE = 60.0


def has_envid(number: str) -> bool:
    """Whether the client gave an ENVID with this message."""
    return int(number.rpartition("-")[2]) % 2 == 0


class Sender:
    """One thread of the client, with a connection of its own.

    Args:
        address: host and port.
        ledger: where it reports, flushed with each line.
        stop: ends it after the message in hand.
    """

    def __init__(self, address: tuple[str, int], ledger: TextIO, stop: threading.Event) -> None:
        self._address = address
        self._ledger = ledger
        self._stop = stop
        self._connection: smtplib.SMTP | None = None
        self._sent = 0

    def run(self, run: str) -> None:
        """Send messages `run`-0, `run`-1 and so on, each until it has a 250."""
        count = 0
        while not self._stop.is_set():
            number = f"{run}-{count}"
            while (event := self._attempt(number)) != "250":
                self._note(number, event)
                self._hang_up()
                time.sleep(_RETRY)
            self._note(number, event)
            count += 1
            time.sleep(_PAUSE)
        self._hang_up()

    def _note(self, number: str, event: str) -> None:
        self._ledger.write(f"{time.time():.3f} {number} {event}\n")
        self._ledger.flush()

    def _attempt(self, number: str) -> str:
        complete = False
        try:
            client = self._connected()
            if not self._envelope(client, number):
                return "refused"
            body = f"Subject: {number}\r\n\r\n{'x' * 2000}\r\n.\r\n".encode()
            complete = True  # from here on the server may have all of it
            client.send(body)
            code = client.getreply()[0]
            return "250" if code == 250 else "unsure"
        except smtplib.SMTPConnectError:
            return "refused"
        except (OSError, smtplib.SMTPException):
            return "unanswered" if complete else "broken"

    def _envelope(self, client: smtplib.SMTP, number: str) -> bool:
        options = [f"ENVID={number}"] if has_envid(number) else []
        user = int(number.rpartition("-")[2]) % USERS
        return (
            client.mail("ledger@example.org", options)[0] == 250
            and client.rcpt(f"user{user}@{DOMAIN}")[0] == 250
            and client.docmd("DATA")[0] == 354
        )

    def _connected(self) -> smtplib.SMTP:
        if self._sent >= _A_CONNECTION:
            self._hang_up()
        if self._connection is None:
            self._connection = smtplib.SMTP(*self._address, timeout=_PATIENCE)
            self._connection.ehlo()
        self._sent += 1
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
        self._connection, self._sent = None, 0


def main() -> int:
    host, port, path, run, threads = sys.argv[1:]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with open(path, "a") as ledger:
        senders = [
            threading.Thread(target=Sender((host, int(port)), ledger, stop).run, args=(f"{run}-{number}",))
            for number in range(int(threads))
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            while sender.is_alive():
                sender.join(0.2)  # the main thread takes the signal meanwhile
    return 0


if __name__ == "__main__":
    sys.exit(main())
