"""The configuration file of `sendmail` and `qmail-queue`."""

from __future__ import annotations

import os
from typing import Any

from maildir_safe._submission.mailbox_list import complete_address
from maildir_safe._submission.rejected import CONFIGURATION, Rejected
from maildir_safe.errors import TemporaryError

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
    import tomllib

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
        return _checked(tomllib.loads(text.decode()))
    except (ValueError, RecursionError) as error:
        raise Rejected(f"{path}: {error}", CONFIGURATION) from error


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
