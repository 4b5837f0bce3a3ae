"""`maildir-safe work`: delivers the messages in a spool by a courier, until stopped."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

from maildir_safe._cli import USAGE
from maildir_safe._cli.arguments import add_staging
from maildir_safe._cli.log_lines import log_to_stderr
from maildir_safe._notify import Notifier
from maildir_safe._queue.queue import Queue
from maildir_safe._queue.store.mount_rules import LEASE, LEASE_IF_UNKNOWN
from maildir_safe._queue.worker import Worker
from maildir_safe._smtp.server.bind import CannotListen
from maildir_safe.errors import TemporaryError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from maildir_safe._queue.couriers.courier import Courier
    from maildir_safe._queue.metrics import Metrics

DESCRIPTION = """\
Deliver the messages in a spool by a courier: maildir:/path/of/one, maildir:/mail/{domain}/{local}
(Maildirs that exist), smtp://[user@]host[:port], smtps://…, lmtp://host:port, lmtp:/socket, or mx: for
the servers that the DNS names for each domain (extra relay). Any number of workers may run, on any
number of hosts. On SIGTERM or SIGHUP a worker finishes the items
that it has claimed, and stops. With --once the exit code is 75 if a part of the queue could not be
read, or if every attempt failed for now."""

TRY_AGAIN = 75
"""EX_TEMPFAIL: the queue keeps what it has."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = DESCRIPTION
    parser.add_argument("spool", metavar="SPOOL")
    add_sending(parser)
    parser.add_argument(
        "--lease", type=int, metavar="SECONDS",
        help=f"others take over from a worker that stalls for so long ({LEASE}, or as the mount needs; "
        f"{LEASE_IF_UNKNOWN} on an unknown type of mount)",
    )  # fmt: skip
    add_staging(parser)
    parser.add_argument("--alone", action="store_true", help="only items put by this host (Coda, s3fs)")
    parser.add_argument(
        "--metrics",
        metavar="ADDR",
        help="answer /livez, /readyz and /metrics on this address (:PORT: this machine only)",
    )
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="log all recipients, not only those that failed or are retried",
    )


def add_sending(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that say where the messages go, and how many at a time."""
    parser.add_argument("--to", required=True, metavar="COURIER", help="the courier of the messages")
    parser.add_argument(
        "--password-file", metavar="FILE", help="the password of the user in --to, on its first line"
    )
    parser.add_argument(
        "--relays", metavar="FILE",
        help="other servers for some senders, as lines 'SENDER SERVER [PASSWORD-FILE]', where SENDER is "
        "user@domain or @domain and SERVER is as in --to",
    )  # fmt: skip
    parser.add_argument("--bounces-to", metavar="COURIER", help="the courier of bounces (default: as --to)")
    parser.add_argument("--hostname", metavar="NAME", help="our name in EHLO and in bounces (this host's)")
    parser.add_argument("--once", action="store_true", help="stop when no more items are due")
    parser.add_argument("--concurrency", type=_positive, default=10, metavar="N", help="items at a time (10)")
    parser.add_argument("--per-destination", type=_positive, metavar="N", help="items per domain (no limit)")
    parser.add_argument("--timeout", type=float, default=1800, metavar="SECONDS", help="per item (1800)")
    parser.add_argument(
        "--warn-after", type=float, default=0, metavar="HOURS",
        help="tell the sender once that a message is still on its way (never; 4 is usual)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Work until SIGTERM, SIGHUP or SIGINT. Returns 0; 64 for wrong arguments; 75: see `DESCRIPTION`."""
    log_to_stderr(logging.INFO if args.verbose else logging.WARNING)
    try:
        courier, bounces = _couriers(args)
        scrapes = _listen_for_scrapes(args.metrics) if args.metrics else None
        opened = Queue(args.spool, create=False, lease=args.lease, shared=not args.alone)
    except ImportError as error:
        print(f"maildir-safe work: {error}: pip install 'maildir-safe[server]'", file=sys.stderr)
        return USAGE
    except (CannotListen, ValueError, OSError) as error:
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
            host=args.hostname,
            warn_after=args.warn_after * 3600,
            metrics=_answer_scrapes(scrapes, queue, args) if scrapes else None,
        )
        if args.once:
            _at_the_end(worker.stop)
            return _once(worker)
        _run_as_service(worker, args.spool)
    return 0


def _couriers(args: argparse.Namespace) -> tuple[Courier, Courier | None]:
    """The courier of messages, and that of bounces if it is another. Raises as `make_courier`."""
    places = [args.to, *filter(None, [args.bounces_to])]
    if args.staging and not any(place.lower().startswith("maildir:") for place in places):
        raise ValueError("--staging is for Maildirs: neither --to nor --bounces-to is one")
    courier = make_courier(args.to, args.password_file, args.hostname, args.staging)
    if args.relays:
        courier = _by_sender(args.relays, courier, args.hostname)
    if not args.bounces_to:
        return courier, None
    return courier, make_courier(args.bounces_to, hostname=args.hostname, staging=args.staging)


def _at_the_end(stop: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # it was blocked while this started


def _run_as_service(worker: Worker, spool: str) -> None:
    """Work until stopped, and tell the service manager about it."""
    notifier = Notifier()

    def stop() -> None:
        worker.stop()
        notifier.stopping("the items in hand are finished")

    def report() -> None:
        counts = f"delivered {worker.delivered}, deferred {worker.deferred}, failed {worker.failed}"
        notifier.alive(f"{spool}: {counts}")

    _at_the_end(stop)
    notifier.ready(f"works {spool}")
    worker.run(on_turn=report)


def _once(worker: Worker) -> int:
    try:
        worker.run_once()
    except TemporaryError as error:
        print(f"maildir-safe work: {error}", file=sys.stderr)
        return TRY_AGAIN
    if worker.deferred and not (worker.delivered or worker.failed):
        print("maildir-safe work: nothing could be delivered; 'queue why' prints why", file=sys.stderr)
        return TRY_AGAIN
    return 0


def make_courier(
    where: str, password_file: str | None = None, hostname: str | None = None, staging: str | None = None
) -> Courier:
    """Make the courier that an argument of the command line names.

    Args:
        where: ``maildir:`` and a path, ``mx:``, or a URL.
        password_file: a file with the password of the user in the URL, on its first line.
        hostname: our name in EHLO; None: this host's.
        staging: where a courier into Maildirs writes what it must copy; None: as the mount needs.

    Raises:
        ValueError: no such courier exists, or the URL contains a password, which every user of this
            machine could see in the command line.
        OSError: the password file cannot be read.
    """
    make = _SCHEMES.get(where.partition(":")[0].lower())
    if make is None:  # without its words: they may hold a password
        raise ValueError(f"no courier begins so; they are {', '.join(f'{scheme}:' for scheme in _SCHEMES)}")
    if make is _into_maildirs:
        return _into_maildirs(where, staging=staging)
    return make(where, password_file, hostname)


def _into_maildirs(
    where: str, _password_file: str | None = None, _hostname: str | None = None, staging: str | None = None
) -> Courier:
    from maildir_safe._queue.couriers.maildir import MaildirCourier

    path = where.partition(":")[2]
    if "{" not in path:
        return MaildirCourier(lambda _: [path], staging=staging)
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
            raise PermanentError(f"no mailbox can have such a name: {address}") from refused

    return MaildirCourier(locate, staging=staging)


def _to_a_server(where: str, password_file: str | None, hostname: str | None) -> Courier:
    from maildir_safe._queue.couriers.smtp import SmtpCourier

    password = None
    if password_file is not None:
        with open(password_file, encoding="utf-8") as file:
            password = file.readline().rstrip("\r\n")
    elif _has_password(where):
        raise ValueError("a password in a URL is seen by every user of this machine: use --password-file")
    return SmtpCourier(where, hostname, password=password)


def _by_dns(where: str, _password_file: str | None, hostname: str | None) -> Courier:
    if where != "mx:":
        raise ValueError("mx: has no words after it: the DNS names the servers")
    try:
        from maildir_safe._queue.couriers.mx import MxCourier

        return MxCourier(hostname)
    except ImportError as error:
        raise ValueError(f"{error}: pip install 'maildir-safe[relay]'") from error


# each is called with the argument of --to, the password file and --hostname
_SCHEMES: dict[str, Callable[[str, str | None, str | None], Courier]] = {
    "maildir": _into_maildirs,
    "smtp": _to_a_server,
    "smtps": _to_a_server,
    "lmtp": _to_a_server,
    "mx": _by_dns,
}


def _by_sender(path: str, other: Courier, hostname: str | None) -> Courier:
    from maildir_safe._queue.couriers.by_sender import SenderCourier, read_couriers
    from maildir_safe._queue.couriers.courier import Relays

    if not isinstance(other, Relays):
        raise ValueError("--relays is for mail that goes to servers, and --to names none")

    def make(where: str, password_file: str | None) -> Courier:
        made = make_courier(where, password_file, hostname)
        if not isinstance(made, Relays):
            raise ValueError(f"{where.partition(':')[0]!a} is not the scheme of a server")
        return made

    return SenderCourier(read_couriers(path, make), other)


def _has_password(url: str) -> bool:
    user, at, _ = url.partition("://")[2].rpartition("@")
    return bool(at) and ":" in user


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {text}")
    return number


def _listen_for_scrapes(address: str) -> socket.socket:
    """Raises ImportError: prometheus-client is missing; CannotListen."""
    import prometheus_client  # noqa: F401 - if it is missing, say so at the start

    from maildir_safe._health.http import local_address
    from maildir_safe._smtp.server.bind import listen

    return listen(local_address(address))


def _answer_scrapes(sock: socket.socket, queue: Queue, args: argparse.Namespace) -> Metrics:
    from maildir_safe._fs.posix import OsFileSystem
    from maildir_safe._health.http import HealthServer
    from maildir_safe._health.storage_check import StorageCheck
    from maildir_safe._health.trial import store_file_in
    from maildir_safe._queue.metrics import Metrics
    from maildir_safe._smtp.server.bind import address_of

    fs, spool, maildir = OsFileSystem(), os.path.abspath(args.spool), args.to.removeprefix("maildir:")
    trials = {spool: lambda: store_file_in(fs, spool)}
    if maildir != args.to and "{" not in maildir:
        trials[maildir] = lambda: store_file_in(fs, maildir)
    metrics = Metrics(queue)
    HealthServer(StorageCheck(trials).fresh_trouble, metrics.text).serve_in_thread(sock)
    print(f"metrics on http://{address_of(sock)}/metrics", file=sys.stderr)
    return metrics
