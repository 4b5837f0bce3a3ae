"""`maildir-safe serve`: SMTP and LMTP in, Maildir out."""

from __future__ import annotations

import argparse
import shutil
from typing import TYPE_CHECKING

from maildir_safe._cli.arguments import STAGING
from maildir_safe._smtp.server.operator import tell
from maildir_safe.errors import MaildirSafeError

if TYPE_CHECKING:
    from typing import Any

    from maildir_safe._smtp.server.page import Page
    from maildir_safe._smtp.server.service import Service
    from maildir_safe._smtp.server.settings import Settings

DESCRIPTION = """\
Accept mail by SMTP and LMTP and store it in one Maildir, in one per address, or in a queue. Each
message is answered with 250 once it is as durable as the mount can make it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags. If a flag is not given, the config file decides, or else the default."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "maildir", nargs="?", metavar="MAILDIR", help="the Maildir for all mail (default: ./Maildir)"
    )

    def flag(name: str, **how: Any) -> None:
        parser.add_argument(name, default=None, **how)

    flag(
        "--smtp",
        action="append",
        metavar="ADDR",
        help="listen for SMTP; HOST:PORT, or fd:3 for a socket passed by systemd; may be repeated "
        "(default: 127.0.0.1:1025, unless --smtps or --lmtp is given)",
    )
    flag(
        "--smtps",
        action="append",
        metavar="ADDR",
        help="listen for SMTP in TLS from the first byte (port 465); needs --tls",
    )
    flag("--lmtp", action="append", metavar="ADDR", help="listen for LMTP: HOST:PORT or a socket's path")
    flag("--lmtp-mode", metavar="MODE", help="permissions of LMTP's unix sockets, such as 0660")
    flag("--lmtp-group", metavar="GROUP", help="group of LMTP's unix sockets, such as postfix")
    flag("--web", metavar="ADDR", help="address of the inbox page (default: 127.0.0.1:8025)")
    flag(
        "--web-host",
        dest="web_hosts",
        action="append",
        metavar="NAME",
        help="a name under which a proxy or container reaches the page; may be repeated",
    )
    flag("--web-auth", metavar="FILE", help="ask for a name and password in this file (maildir-safe passwd)")
    flag(
        "--web-tls",
        nargs="?",
        const="made",
        metavar="PEM",
        help="the page by HTTPS; without a file, make a certificate",
    )
    flag("--web-root", metavar="PATH", help="the page's path behind a proxy, such as /mail")
    flag(
        "--relay",
        metavar="URL",
        help="for tests: the server to which a program may release messages (POST …/release): "
        "smtp://[user@]host[:port], smtps://…",
    )
    flag(
        "--relay-to",
        action="append",
        metavar="PATTERN",
        help="with --relay: the addresses that messages may be released to, such as '*@example.com'; may be "
        "repeated",
    )
    flag("--no-web", dest="web", action="store_const", const="", help="no inbox page")
    flag(
        "--metrics",
        metavar="ADDR",
        help="answer /livez, /readyz and /metrics on this address (:PORT: this machine only)",
    )
    flag(
        "--queue",
        metavar="SPOOL",
        help="put mail into this spool, for 'maildir-safe work', instead of delivering it",
    )
    flag("--map", metavar="TEMPLATE", help="deliver to existing Maildirs, such as '/mail/{domain}/{local}'")
    flag(
        "--split",
        metavar="TEMPLATE",
        help="for tests: each address its own Maildir below MAILDIR, such as '{domain}/{local}', made when "
        "mail for it first arrives",
    )
    flag("--staging", choices=("tmp", "new"), help=STAGING)
    flag("--postmaster", metavar="ADDRESS", help="with --map: the address that gets mail for postmaster")
    flag(
        "--proxy-from",
        action="append",
        metavar="CIDR",
        help="load balancers that name their clients by the PROXY protocol (v1, v2); may be repeated",
    )
    flag("--tls", nargs="?", const="made", metavar="PEM", help="STARTTLS; without a file, make a certificate")
    flag("--auth", metavar="FILE", help="require AUTH with the names and passwords in this file")
    flag("--faults", metavar="FILE", help="scripted faults (TOML), to test how a sender reacts")
    flag(
        "--recognise-repeats",
        action="store_true",
        help="store a message once that is sent again with the same sender, recipients and bytes",
    )
    flag("--keep", type=int, metavar="N", help="remove all but the newest N messages of each Maildir")
    flag("--keep-days", type=float, metavar="D", help="remove messages older than D days")
    flag("--workers", type=int, metavar="N", help="number of processes (default: 1)")
    flag("--user", metavar="NAME", help="as root: become this user once all ports are open")
    flag("--group", metavar="NAME", help="with --user: and this group (default: the user's own)")
    flag("--hostname", metavar="NAME", help="our name in greetings and headers (default: this host's)")
    flag("--max-size", type=int, metavar="BYTES", help="largest message (default: 25 MiB)")
    flag("--max-recipients", type=int, metavar="N", help="most recipients of one message (default: 100)")
    flag("--max-connections", type=int, metavar="N", help="most connections at a time (default: 100)")
    flag(
        "--max-connections-per-address",
        type=int,
        metavar="N",
        help="most connections per client address, except this machine (default: half of --max-connections)",
    )
    flag(
        "--max-in-flight",
        type=int,
        metavar="BYTES",
        help="most bytes of messages in memory, all together (default: 256 MiB)",
    )
    flag("--timeout", type=float, metavar="SECONDS", help="how long a client may be silent (default: 300)")
    flag("--log-json", action="store_true", help="log JSON, one object per line")
    flag("--config", metavar="FILE", help="read these settings from a TOML file; flags override it")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. Returns 0; 1 if it cannot start or fails, with the reason on stderr."""
    from maildir_safe._smtp.server.bind import CannotListen
    from maildir_safe._smtp.server.service import Service

    try:
        wanted = settings(args)
        page = _page() if wanted.web else None
        service = Service(wanted, page=page, reread=lambda: settings(args))
    except ImportError as error:
        tell(f"{error}: pip install 'maildir-safe[server]', or do without (--no-web)")
        return 1
    except (CannotListen, MaildirSafeError, ValueError, OSError) as error:
        tell(f"maildir-safe serve: {error}")
        return 1
    for warning in service.warnings:
        tell(f"maildir-safe serve: {warning}")
    try:
        return service.run(ready=lambda: _show(banner(service)))
    except (MaildirSafeError, OSError) as error:
        tell(f"maildir-safe serve: {error}")
        return 1


def _page() -> Page:
    from maildir_safe._web.app import serve_page

    return serve_page


def _show(lines: list[str]) -> None:
    """Print the banner. If standard output cannot be written, the server runs anyway."""
    try:
        print("\n".join(lines), flush=True)
    except OSError as error:
        tell(f"maildir-safe serve: standard output: {error.strerror}")


def settings(args: argparse.Namespace) -> Settings:
    """The settings: flags override the config file, which overrides the defaults."""
    from maildir_safe._smtp.server import settings as smtp_settings

    found = smtp_settings.read(args.config) if args.config else {}
    names = [name for name in vars(args) if name in smtp_settings.Settings.__dataclass_fields__]
    found |= {name: v for name in names if (v := getattr(args, name)) is not None}
    if "maildir" in found and found.keys() & {"map", "queue"}:
        raise ValueError("MAILDIR takes all mail: it cannot be combined with --map or --queue")
    if not found.keys() & {"map", "queue"}:
        found.setdefault("web", smtp_settings.DEFAULT_WEB)
    return smtp_settings.Settings(**found)


def banner(service: Service) -> list[str]:
    """The lines printed at the start: the addresses, the storage, and a command to try the server."""
    lines = [f"SMTP     {address}" for address in service.smtp_addresses]
    lines += [f"SMTPS    {address}" for address in service.smtps_addresses]
    lines += [f"LMTP     {address}" for address in service.lmtp_addresses]
    if service.web_address:
        lines.append(f"Inbox    {service.web_scheme}://{reachable(service.web_address)}{service.web_root}/")
    if service.metrics_address:
        lines.append(f"Health   http://{reachable(service.metrics_address)}/readyz")
    lines += [service.storage]
    if service.ca:
        lines.append(f"CA       {service.ca}")
    if service.smtp_addresses:
        command = sender(service.smtp_addresses[0])
    elif service.lmtp_addresses:
        command = sender(service.lmtp_addresses[0], lmtp=True)
    else:
        command = (
            f"curl -k smtps://{reachable(service.smtps_addresses[0])} --mail-rcpt you@example.com -T FILE"
        )
    return [*lines, f"Try      {command}"]


def reachable(address: str) -> str:
    """Replace a wildcard address by the loopback address, which a client can use."""
    host, colon, port = address.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    return host + colon + port


def sender(address: str, lmtp: bool = False) -> str:
    """A shell command that sends a message to `address`."""
    host, _, port = reachable(address).rpartition(":")
    if shutil.which("swaks"):
        where = f"--socket {address}" if "/" in address else f"--server {host}:{port}"
        return f"swaks {'--protocol LMTP ' * lmtp}{where} --from me@example.com --to you@example.com"
    where = repr(address) if "/" in address else f"{host.strip('[]')!r}, {port}"
    return (
        f'python3 -c "import smtplib; smtplib.{"LMTP" if lmtp else "SMTP"}({where}).sendmail('
        "'me@example.com', 'you@example.com', 'Subject: Hello\\n\\nIt works.')\""
    )
