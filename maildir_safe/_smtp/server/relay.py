"""The one server to which a test server sends mail on, if a tester asks for it, and for which addresses."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maildir_safe._queue.couriers.courier import Courier
    from maildir_safe._smtp.server.settings import Settings

_SILENT = 30.0  # seconds that the server may be silent: somebody waits


@dataclass(frozen=True)
class Relay:
    """Where messages are released to.

    Attributes:
        courier: sends a message to that server.
        allowed: patterns of the addresses that may get one, such as ``*@example.com``.
        hostname: our name.
    """

    courier: Courier
    allowed: Sequence[str]
    hostname: str

    def allows(self, address: str) -> bool:
        """Whether an address may get a message. Upper and lower case do not matter."""
        return any(fnmatch.fnmatchcase(address.lower(), pattern.lower()) for pattern in self.allowed)


def relay_of(settings: Settings) -> Relay | None:
    """The relay of these settings. Raises ValueError: its URL is malformed."""
    if settings.relay is None:
        return None
    from maildir_safe._queue.couriers.smtp import SmtpCourier

    courier = SmtpCourier(settings.relay, helo=settings.hostname, timeout=_SILENT)
    return Relay(courier, settings.relay_to, settings.hostname)
