"""The settings of `maildir-safe serve`, given by flags or by a TOML file with the same names."""

from __future__ import annotations

import re
import socket
import tomllib
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from maildir_safe._smtp.protocol.auth import MECHANISMS, TEST_MECHANISMS

if TYPE_CHECKING:
    from typing import Any

MIB = 1024 * 1024
_WORDS = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list[str]": "a list of strings",
}
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
DEFAULT_WEB = "127.0.0.1:8025"


@dataclass
class Settings:
    """Every setting, with its default.

    Attributes:
        maildir: the one Maildir that takes all mail in test mode; created if it does not exist.
        smtp: addresses to listen on for SMTP, each ``HOST:PORT``, or ``fd:3`` for a socket passed by systemd.
        smtps: addresses to listen on for SMTP in TLS from the first byte (port 465), as for `smtp`; `tls` has
            the certificate.
        lmtp: addresses to listen on for LMTP, each ``HOST:PORT`` or the path of a socket.
        lmtp_mode: permissions of LMTP's unix sockets in octal, such as ``"0660"``; empty: as the umask says.
        lmtp_group: group of LMTP's unix sockets; empty: that of the process.
        queue: a spool to put mail into, for `maildir-safe work`, instead of delivering it.
        map: template of the Maildirs of addresses, such as ``/mail/{domain}/{local}``, in place of `maildir`.
        split: in test mode, the paths below `maildir` of each address's own Maildir, such as
            ``{domain}/{local}``; each is made when it first gets mail.
        staging: where messages are written first: ``"tmp"``, or ``"new"`` for their target directory, under a
            dot name; by default as the mount needs.
        web: address of the inbox page; empty: no page. The command `serve` has a default for it.
        web_hosts: names under which the page is served, besides addresses and this machine's name.
        web_auth: a file of names and password hashes; with it, the page asks for a password.
        web_tls: a PEM file with chain and key, for the page; ``"made"``: make a certificate for this run.
        web_root: the path under which a proxy passes the page on, such as ``/mail``; empty: ``/``.
        relay: in test mode, the server to which the page's API releases messages: ``smtp://[user@]host[:port]``,
            ``smtps://…``; a password in it (``user:password@``) belongs in the file.
        relay_to: patterns of the addresses that messages may be released to, such as ``*@example.com``.
        metrics: address of /metrics, /livez and /readyz; without a host: this machine only. Empty: none.
        postmaster: with `map`, the address that gets mail for postmaster.
        proxy_from: networks of load balancers, such as ``192.0.2.0/24``, whose connections begin with a
            header of the PROXY protocol that names the client.
        tls: a PEM file with chain and key, for STARTTLS; ``"made"``: make a certificate for this run.
        auth: a file of names and password hashes; with it, mail is refused before AUTH.
        auth_mechanisms: what AUTH offers in test mode, where any password is accepted: PLAIN, LOGIN and
            CRAM-MD5; none: AUTH is not offered.
        faults: a file of scripted faults.
        recognise_repeats: store a message that is sent again without ENVID once, if sender, recipients and
            all bytes are the same and it has a Message-ID.
        keep: number of messages that stay in each Maildir; the oldest are removed.
        keep_days: number of days that messages stay.
        workers: number of processes that serve.
        hostname: our name in greetings and Received headers.
        max_size: most bytes of one message.
        max_recipients: most recipients of one message.
        max_connections: most connections at a time, of all sockets and workers together.
        max_connections_per_address: most connections per client address; by default half of
            `max_connections`. The limit does not apply to clients on this machine.
        max_in_flight: most bytes of messages in memory, of all workers together.
        timeout: seconds that a client may be silent.
        grace: seconds that SIGTERM waits for messages that are being received or stored.
        log_json: log JSON, one object per line.
        user: who a server that root starts becomes, once it listens; empty: nobody else.
        group: with `user`, its group; empty: the user's own.
    """

    maildir: str = "Maildir"
    smtp: list[str] = field(default_factory=list)
    smtps: list[str] = field(default_factory=list)
    lmtp: list[str] = field(default_factory=list)
    lmtp_mode: str = ""
    lmtp_group: str = ""
    queue: str | None = None
    map: str | None = None
    split: str | None = None
    staging: str | None = None
    web: str = ""
    web_hosts: list[str] = field(default_factory=list)
    web_auth: str | None = None
    web_tls: str | None = None
    web_root: str = ""
    relay: str | None = None
    relay_to: list[str] = field(default_factory=list)
    metrics: str = ""
    postmaster: str | None = None
    proxy_from: list[str] = field(default_factory=list)
    tls: str | None = None
    auth: str | None = None
    auth_mechanisms: list[str] = field(default_factory=lambda: [*MECHANISMS])
    faults: str | None = None
    recognise_repeats: bool = False
    keep: int | None = None
    keep_days: float | None = None
    workers: int = 1
    hostname: str = field(default_factory=socket.gethostname)
    max_size: int = 25 * MIB
    max_recipients: int = 100
    max_connections: int = 100
    max_connections_per_address: int | None = None
    max_in_flight: int = 256 * MIB
    timeout: float = 300.0
    grace: float = 30.0
    log_json: bool = False
    user: str = ""
    group: str = ""

    def __post_init__(self) -> None:
        if not self.smtp and not self.lmtp and not self.smtps:
            self.smtp = ["127.0.0.1:1025"]

    def check(self) -> None:
        """Reject settings that contradict each other or are out of range. Raises ValueError."""
        for name in ("max_size", "max_recipients", "max_connections", "max_in_flight", "timeout", "workers"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be more than 0")
        if self.lmtp_mode and not (
            set(self.lmtp_mode) <= set("01234567") and int(self.lmtp_mode, 8) <= 0o777
        ):
            raise ValueError(f"lmtp_mode is {self.lmtp_mode}, but must be octal, such as 0660")
        if self.max_connections_per_address is not None and self.max_connections_per_address <= 0:
            raise ValueError("max_connections_per_address must be more than 0")
        if self.map is None and self.postmaster is not None:
            raise ValueError("postmaster needs map: without it one Maildir takes all mail")
        if self.map is not None and (self.keep is not None or self.keep_days is not None):
            raise ValueError("keep and keep_days cannot be combined with map: they would remove users' mail")
        if self.queue is not None and (self.web or self.keep is not None or self.keep_days is not None):
            raise ValueError("queue cannot be combined with web, keep or keep_days: these need a Maildir")
        if self.split is not None and (self.map is not None or self.queue is not None):
            raise ValueError("split is for tests: it cannot be combined with map or queue")
        if self.staging not in (None, "tmp", "new"):
            raise ValueError(f"staging is {self.staging}, but must be tmp or new")
        if self.staging is not None and self.queue is not None:
            raise ValueError("staging is for Maildirs: with queue, give it to the worker")
        if self.smtps and self.tls is None:
            raise ValueError("smtps needs tls: the certificate")
        if self.smtps and self.proxy_from:
            raise ValueError("smtps cannot be combined with proxy_from: let the proxy do TLS, and use smtp")
        if self.group and not self.user:
            raise ValueError("group needs user: without it the process stays what it is")
        if self.user and "made" in (self.tls, self.web_tls):
            raise ValueError("user needs a certificate from a file: one made for this run is root's")
        self._check_web()
        self._check_relay()
        self._check_auth()
        if min(self.keep or 0, self.keep_days or 0) < 0:
            raise ValueError("keep and keep_days must not be negative")
        if self.faults and self.workers > 1:
            raise ValueError("faults are counted in one process: use one worker")

    def _check_web(self) -> None:
        if self.map is not None and self.web and self.web_auth is None:
            raise ValueError("with map, the page shows users' mail: web needs web_auth")
        if not self.web and (self.web_auth is not None or self.web_tls is not None or self.web_root):
            raise ValueError("web_auth, web_tls and web_root need web: there is no page")
        if self.web_root and not _PATH.fullmatch(self.web_root):
            raise ValueError(f"web_root is {self.web_root}, but must be a path such as /mail")

    def _check_relay(self) -> None:
        if self.relay is None and self.relay_to:
            raise ValueError("relay_to needs relay: the server that messages are released to")
        if self.relay is None:
            return
        if not self.relay_to:
            raise ValueError("relay needs relay_to: the addresses that messages may be released to")
        if not all("@" in pattern for pattern in self.relay_to):
            raise ValueError("relay_to has patterns of addresses, such as *@example.com")
        if not self.web or self.map is not None or self.queue is not None:
            raise ValueError("relay is for a test server with its page: not with map, queue or no-web")

    def _check_auth(self) -> None:
        unknown = sorted({*self.auth_mechanisms} - {*TEST_MECHANISMS})
        if unknown:
            raise ValueError(
                f"auth_mechanisms: {', '.join(unknown)}: not one of {', '.join(TEST_MECHANISMS)}"
            )
        test_mode = self.map is None and self.queue is None
        if self.auth_mechanisms != [*MECHANISMS] and not (test_mode and self.auth is None):
            raise ValueError("auth_mechanisms is for test mode only: not with auth, map or queue")


def read(path: str) -> dict[str, Any]:
    """Read the settings in a TOML file.

    Raises:
        ValueError: the file is not TOML, or a name in it is not a setting, or a value has the wrong
            type; the text says which.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        try:
            found = tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path}: {error}") from None
    found = {name.replace("-", "_"): value for name, value in found.items()}
    unknown = sorted(found.keys() - {known.name for known in fields(Settings)})
    if unknown:
        raise ValueError(f"{path}: no such setting: {', '.join(unknown)}")
    for known in fields(Settings):
        if known.name in found and not _fits(found[known.name], str(known.type)):
            words = _WORDS[str(known.type).removesuffix(" | None")]
            raise ValueError(f"{path}: {known.name} = {found[known.name]!r} is not {words}")
    return found


def _fits(value: Any, annotation: str) -> bool:
    if annotation == "list[str]":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    allowed = annotation.split(" | ")
    return type(value).__name__ in allowed or (type(value) is int and "float" in allowed)
