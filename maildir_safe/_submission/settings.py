"""The configuration file of `sendmail` and `qmail-queue`."""

from __future__ import annotations

import os

from maildir_safe._submission import CONFIGURATION, Rejected
from maildir_safe._submission.mailbox_list import complete_address
from maildir_safe.errors import TemporaryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PATH = "/etc/maildir-safe/sendmail.toml"
"""The configuration file, unless `VARIABLE` names another."""

VARIABLE = "MAILDIR_SAFE_SENDMAIL_CONFIG"
"""The environment variable that names another file. A set-id process ignores it."""

_LARGEST_FILE = 64 << 10
_SIZE_LIMIT = 50_000_000


class Settings:
    """The settings.

    Attributes:
        spool: the spool's absolute path. It must exist. ``""`` only if `submit` is given.
        submit: the absolute path of a server's socket, which then takes the messages; ``""``: the spool does.
        domain: what addresses without a domain are completed with.
        host: the name of this host, for Received.
        size_limit: most bytes of a message.
        masquerade: the domain that replaces this host's name in addresses of senders; ``""``: none does.
        aliases: the path of the aliases file; ``""``: there is none.
        local: the domains of this host, in lower case.
    """

    def __init__(
        self,
        spool: str,
        domain: str,
        size_limit: int,
        masquerade: str = "",
        aliases: str = "",
        submit: str = "",
    ) -> None:
        self.spool = spool
        self.submit = submit
        self.host = os.uname().nodename
        self.domain = domain or self.host
        self.size_limit = size_limit
        self.masquerade = masquerade
        self.aliases = aliases
        names = self.domain, self.host, self.host.partition(".")[0], "localhost", "localhost.localdomain"
        self.local = frozenset(name.lower() for name in names)

    @property
    def own_spool(self) -> str:
        """The spool, for what a server's socket cannot do.

        Raises:
            Rejected: only the socket is configured (exit code 78).
        """
        if not self.spool:
            raise Rejected("this needs a spool, and the configuration names only a socket", CONFIGURATION)
        return self.spool

    def masked(self, address: str) -> str:
        """The address of a sender, with `masquerade` in place of a domain of this host."""
        name, at, domain = address.rpartition("@")
        hidden = self.masquerade and at and domain.lower() in self.local
        return f"{name}@{self.masquerade}" if hidden else address

    def expanded(self, recipients: list[str]) -> list[str]:
        """The addresses that recipients lead to by the aliases file, if there is one.

        Raises:
            Rejected: an alias leads to what is no address (exit code 65), or the file is malformed (78).
            TemporaryError: the file cannot be read now.
        """
        if not self.aliases:
            return recipients
        from maildir_safe._submission.aliases import read

        return read(self.aliases, self.domain, self.local).expand(recipients)


_KEYS = {"spool": str, "domain": str, "size_limit": int, "masquerade": str, "aliases": str, "submit": str}


def load() -> Settings:
    """Read the configuration file.

    Raises:
        Rejected: it is missing, not valid TOML, or has an unknown key or a wrong value (exit code 78).
        TemporaryError: the storage failed while it was read.
    """
    where = path()
    text = read_file(where, _LARGEST_FILE, "; this file names the spool")
    try:
        plain = _plain(text)
        return _checked(_by_toml(text) if plain is None else plain)
    except (ValueError, RecursionError) as error:
        raise Rejected(f"{where}: {error}", CONFIGURATION) from error


def _plain(text: str) -> dict[str, Any] | None:
    """Read a file with nothing but lines such as ``spool = "/var/spool/mail"`` and ``size_limit = 10``.

    Returns None for any other file: TOML's own reader takes 3 ms to import, a quarter of a `sendmail`.
    """
    found: dict[str, Any] = {}
    for line in text.split("\n"):
        line = line.strip(" \t")
        if not line or (line[0] == "#" and line.isprintable()):
            continue
        key, _, value = (part.strip(" \t") for part in line.partition("="))
        inner = value[1:-1]
        if key not in _KEYS or key in found:
            return None
        if value == f'"{inner}"' and inner.isprintable() and '"' not in inner and "\\" not in inner:
            found[key] = inner
        elif value.isascii() and all(part.isdecimal() for part in value.split("_")) and value[0] != "0":
            found[key] = int(value)
        else:
            return None
    return found


def _by_toml(text: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads(text)


def read_file(path: str, largest: int, hint: str = "") -> str:
    """Return the text of a configuration file.

    Args:
        path: the file.
        largest: most bytes that it may have.
        hint: follows the reason if there is no such file, or no right to read it.

    Raises:
        Rejected: it is missing, too large or not UTF-8 (exit code 78).
        TemporaryError: it cannot be read now.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(largest + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise Rejected(f"{path}: {error.strerror}{hint}", CONFIGURATION) from error
    except OSError as error:
        raise TemporaryError(f"{path}: {error.strerror}") from error
    if len(data) > largest:
        raise Rejected(f"{path}: has more than {largest} bytes", CONFIGURATION)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Rejected(f"{path}: {error}", CONFIGURATION) from error


def path() -> str:
    """The path of the configuration file."""
    set_id = os.getuid() != os.geteuid() or os.getgid() != os.getegid()
    return PATH if set_id else os.environ.get(VARIABLE) or PATH


def _checked(found: dict[str, Any]) -> Settings:
    for key, value in found.items():
        if key not in _KEYS:
            raise ValueError(f"the key {key!r} is unknown; the keys are {', '.join(_KEYS)}")
        kind = _KEYS[key]
        if type(value) is not kind:
            raise ValueError(f"{key} must be {'a string' if kind is str else 'an integer'}")
    spool, domain = found.get("spool", ""), found.get("domain", "")
    size_limit = found.get("size_limit", _SIZE_LIMIT)
    submit = found.get("submit", "")
    if not (spool or submit).startswith("/") or "\0" in spool:
        raise ValueError("spool must be given, as an absolute path")
    if size_limit <= 0:
        raise ValueError("size_limit must be more than 0")
    masquerade, aliases = found.get("masquerade", ""), found.get("aliases", "")
    for key, name in (("domain", domain), ("masquerade", masquerade)):
        try:
            complete_address("postmaster", name or "localhost")
        except Rejected as error:
            raise ValueError(f"{key}: {name!r} is not a domain") from error
    for key, value in (("spool", spool), ("submit", submit), ("aliases", aliases)):
        if value and (not value.startswith("/") or "\0" in value):
            raise ValueError(f"{key} must be an absolute path")
    return Settings(spool, domain, size_limit, masquerade, aliases, submit)
