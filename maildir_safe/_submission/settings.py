"""The configuration file of `sendmail` and `qmail-queue`."""

from __future__ import annotations

import os

from maildir_safe._submission.mailbox_list import complete_address
from maildir_safe._submission.rejected import CONFIGURATION, Rejected
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
        spool: the spool's absolute path. It must exist.
        domain: what addresses without a domain are completed with.
        host: the name of this host, for Received.
        size_limit: most bytes of a message.
    """

    def __init__(self, spool: str, domain: str, size_limit: int) -> None:
        self.spool = spool
        self.host = os.uname().nodename
        self.domain = domain or self.host
        self.size_limit = size_limit


_KEYS = {"spool": str, "domain": str, "size_limit": int}


def load() -> Settings:
    """Read the configuration file.

    Raises:
        Rejected: it is missing, not valid TOML, or has an unknown key or a wrong value (exit code 78).
        TemporaryError: the storage failed while it was read.
    """
    path = _path()
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST_FILE + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise Rejected(f"{path}: {error.strerror}; this file names the spool", CONFIGURATION) from error
    except OSError as error:
        raise TemporaryError(f"{path}: {error.strerror}") from error
    if len(text) > _LARGEST_FILE:
        raise Rejected(f"{path}: has more than {_LARGEST_FILE} bytes", CONFIGURATION)
    try:
        plain = _plain(text.decode())
        return _checked(_by_toml(text.decode()) if plain is None else plain)
    except (ValueError, RecursionError) as error:
        raise Rejected(f"{path}: {error}", CONFIGURATION) from error


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


def _path() -> str:
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
    if not spool.startswith("/") or "\0" in spool:
        raise ValueError("spool must be given, as an absolute path")
    if size_limit <= 0:
        raise ValueError("size_limit must be more than 0")
    if domain:
        try:
            complete_address("postmaster", domain)
        except Rejected as error:
            raise ValueError(f"domain: {domain!r} is not a domain") from error
    return Settings(spool, domain, size_limit)
