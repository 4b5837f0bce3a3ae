"""`maildir-safe work`: hand what is in a spool to a courier, until told to stop."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from typing import TYPE_CHECKING

from maildir_safe._cli import USAGE
from maildir_safe._queue.queue import Queue
from maildir_safe._queue.store.mount_rules import LEASE
from maildir_safe._queue.worker import Worker
from maildir_safe.errors import TemporaryError

if TYPE_CHECKING:
    from maildir_safe._queue.couriers.courier import Courier
    from maildir_safe._queue.metrics import Metrics

DESCRIPTION = """\
Hand what is in a spool to a courier: maildir:/path/of/one, maildir:/mail/{domain}/{local} (Maildirs
that exist), smtp://[user@]host[:port], smtps://…, lmtp://host:port or lmtp:/socket. Any number of
these may run, on any number of hosts. SIGTERM and SIGHUP finish what is in hand, and stop. With --once
the exit code is 75 if some of the queue could not be looked at, or if nothing of what was tried could
be delivered."""

TRY_AGAIN = 75
"""EX_TEMPFAIL: the queue keeps what it has."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = DESCRIPTION
    parser.add_argument("spool", metavar="SPOOL")
    parser.add_argument("--to", required=True, metavar="COURIER", help="where messages go")
    parser.add_argument(
        "--password-file", metavar="FILE", help="the password of the user in --to, on its first line"
    )
    parser.add_argument("--bounces-to", metavar="COURIER", help="where bounces go (default: the same)")
    parser.add_argument("--once", action="store_true", help="stop when nothing is due any more")
    parser.add_argument("--concurrency", type=_positive, default=10, metavar="N", help="items at a time (10)")
    parser.add_argument("--per-destination", type=_positive, metavar="N", help="to one domain (all of them)")
    parser.add_argument("--timeout", type=float, default=1800, metavar="SECONDS", help="for one item (1800)")
    parser.add_argument(
        "--lease", type=int, metavar="SECONDS",
        help=f"others take over from a worker that stands still so long ({LEASE}, or as the mount needs)",
    )  # fmt: skip
    parser.add_argument("--alone", action="store_true", help="work only what this host has put (Coda, s3fs)")
    parser.add_argument(
        "--metrics", type=_host_and_port, metavar="HOST:PORT", help="serve numbers for Prometheus there"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log every recipient, not only trouble")


def run(args: argparse.Namespace) -> int:
    """Work until SIGTERM, SIGHUP or SIGINT. 64: the arguments make no sense; 75: see `DESCRIPTION`."""
    logging.basicConfig(
        level=logging.INFO if args.verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    try:
        courier = make_courier(args.to, args.password_file)
        bounces = make_courier(args.bounces_to) if args.bounces_to else None
        opened = Queue(args.spool, create=False, lease=args.lease, shared=not args.alone)
    except (ValueError, OSError) as error:
        print(f"maildir-safe work: {error}", file=sys.stderr)
        return USAGE
    with opened as queue:
        worker = Worker(
            queue,
            courier,
            bounces=bounces,
            concurrency=args.concurrency,
            per_destination=args.per_destination,
            timeout=args.timeout,
            metrics=_metrics(queue, args.metrics),
        )
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: worker.stop())
        if args.once:
            return _once(worker)
        worker.run()
    return 0


def _once(worker: Worker) -> int:
    try:
        worker.run_once()
    except TemporaryError as error:
        print(f"maildir-safe work: {error}", file=sys.stderr)
        return TRY_AGAIN
    if worker.deferred and not (worker.delivered or worker.failed):
        print("maildir-safe work: nothing could be delivered; 'queue why' tells why", file=sys.stderr)
        return TRY_AGAIN
    return 0


def make_courier(where: str, password_file: str | None = None) -> Courier:
    """The courier that a word on the command line means.

    Args:
        password_file: the password of the user in a URL, on its first line.

    Raises:
        ValueError: none, or there is a password in it: every user of this machine sees command lines.
        OSError: the password cannot be read.
    """
    if not where.startswith("maildir:"):
        from maildir_safe._queue.couriers.smtp import SmtpCourier

        password = None
        if password_file is not None:
            with open(password_file, encoding="utf-8") as file:
                password = file.readline().rstrip("\r\n")
        elif _has_password(where):
            raise ValueError("a password in a URL is seen by every user of this machine: use --password-file")
        return SmtpCourier(where, password=password)
    from maildir_safe._queue.couriers.maildir import MaildirCourier

    path = where.removeprefix("maildir:")
    if "{" not in path:
        return MaildirCourier(lambda _: [path])
    from maildir_safe._smtp.backends.routing import MailboxMap
    from maildir_safe._smtp.protocol.replies import Refused
    from maildir_safe.errors import PermanentError

    try:
        mailboxes = MailboxMap(path)
    except ValueError as error:
        raise ValueError(str(error).replace("--map ", "maildir:", 1)) from None

    def locate(address: str) -> list[str]:
        try:
            return mailboxes.candidates(address)
        except Refused as refused:
            raise PermanentError(f"no mailbox has such a name: {address}") from refused

    return MaildirCourier(locate)


def _has_password(url: str) -> bool:
    user, at, _ = url.partition("://")[2].rpartition("@")
    return bool(at) and ":" in user


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"1 or more, not {text}")
    return number


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal() and int(port) < 65536):
        raise argparse.ArgumentTypeError(f"HOST:PORT, such as 127.0.0.1:9100, not {text}")
    return host.strip("[]") or "127.0.0.1", int(port)


def _metrics(queue: Queue, address: tuple[str, int] | None) -> Metrics | None:
    if address is None:
        return None
    from maildir_safe._queue.metrics import Metrics

    host, port = address
    metrics = Metrics(queue)
    taken = metrics.serve(host, port)
    shown = f"[{host}]" if ":" in host else host
    print(f"metrics on http://{shown}:{taken}/metrics", file=sys.stderr)
    return metrics
