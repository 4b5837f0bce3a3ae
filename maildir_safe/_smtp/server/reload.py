"""What SIGHUP reads again: the certificate, the passwords, the faults, and the map of addresses.

All of it is read before any of it counts: after an error everything stays as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from maildir_safe._smtp.backends.routing import MailboxMap
from maildir_safe._smtp.faults.faults import Faults
from maildir_safe._smtp.protocol.auth import Passwords
from maildir_safe._smtp.server import tls

if TYPE_CHECKING:
    import ssl

    from maildir_safe._smtp.server.settings import Settings

_CHANGEABLE = ("tls", "auth", "faults", "map", "postmaster")


@dataclass(frozen=True)
class Parts:
    """What can change while a server runs.

    Attributes:
        tls: the TLS context, or None.
        ca: the file of the CA that signed a certificate made for this run, or None.
        passwords: who may authenticate, or None.
        faults: the fault script, or None.
        map: where addresses have their Maildirs; None: one Maildir takes all.
    """

    tls: ssl.SSLContext | None
    ca: str | None
    passwords: Passwords | None
    faults: Faults | None
    map: MailboxMap | None


def read_parts(settings: Settings, before: Parts | None = None, faults: Faults | None = None) -> Parts:
    """Read all files that the settings name.

    Args:
        settings: the settings.
        before: what has counted so far: a certificate made for this run is kept.
        faults: the faults if `settings.faults` names no file.

    Raises:
        ValueError, OSError: a file cannot be read, or is wrong; the text says which.
        ImportError: a package of the `server` extra is missing.
    """
    context, ca = None, None
    if settings.tls == tls.MADE and before is not None and before.ca:
        context, ca = before.tls, before.ca
    elif settings.tls:
        context, ca = tls.server_context(settings.tls, settings.hostname)
    return Parts(
        context,
        ca,
        Passwords.read(settings.auth) if settings.auth else None,
        Faults.read(settings.faults) if settings.faults else faults,
        None if settings.map is None else MailboxMap(settings.map, settings.postmaster),
    )


def changed(now: Settings, then: Settings) -> list[str]:
    """The settings that differ and count only after a restart.

    Raises:
        ValueError: TLS, passwords or the map would begin or end, which the rules against open relays
            and against passwords in clear text do not allow to a running server; or faults, whose calls
            a server without them does not have.
    """
    for name in ("tls", "auth", "map", "faults"):
        if (getattr(now, name) is None) != (getattr(then, name) is None):
            raise ValueError(f"{name} begins or ends only at a restart")
    then.check()
    names = [known.name for known in fields(now) if known.name not in _CHANGEABLE]
    return [name for name in names if getattr(now, name) != getattr(then, name)]
