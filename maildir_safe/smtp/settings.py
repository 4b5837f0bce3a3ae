"""What `maildir-safe serve` can be told, by flags or by a TOML file of the same names."""

from __future__ import annotations

import socket
import tomllib
from dataclasses import dataclass, field, fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MIB = 1024 * 1024


@dataclass
class Settings:
    """Every setting, with its default.

    Attributes:
        maildir: where mail goes in test mode; made if it is not there.
        smtp: addresses for SMTP (see `listen.listen`).
        lmtp: addresses for LMTP.
        map: template of existing Maildirs; set, it replaces `maildir`.
        postmaster: who gets mail for postmaster, with `map`.
        hostname: our name in greetings and Received headers.
        max_size: bytes of one message.
        max_recipients: of one message.
        max_connections: of all listeners and workers together.
        max_in_flight: bytes of messages in memory, likewise.
        timeout: seconds a client may be silent.
        grace: seconds that SIGTERM waits for messages that are being received.
        log_json: log JSON.
    """

    maildir: str = "Maildir"
    smtp: list[str] = field(default_factory=lambda: ["127.0.0.1:1025"])
    lmtp: list[str] = field(default_factory=list)
    map: str | None = None
    postmaster: str | None = None
    hostname: str = field(default_factory=socket.gethostname)
    max_size: int = 25 * MIB
    max_recipients: int = 100
    max_connections: int = 100
    max_in_flight: int = 256 * MIB
    timeout: float = 300.0
    grace: float = 30.0
    log_json: bool = False


def read(path: str) -> dict[str, Any]:
    """The settings in a TOML file.

    Raises:
        ValueError: not TOML, or a name that is no setting; says which.
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
    return found
