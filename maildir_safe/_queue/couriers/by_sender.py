"""A courier that chooses the next server by the sender, as Postfix's sender_dependent_relayhost_maps does.

Some providers take mail only from the addresses of the account that logs in, so that each address has a
server and a password of its own. The file has one line for each, and comments:

    # sender             server                                  file with the password
    ann@example.com      smtp://ann@mail.example.net:587         /etc/maildir-safe/ann.password
    @example.org         smtps://office@relay.example.org        /etc/maildir-safe/office.password
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from maildir_safe._queue.couriers.courier import close_connections, domain_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from maildir_safe._delivery.status import RecipientStatus
    from maildir_safe._queue.couriers.courier import Courier, DeliveryRequest

log = logging.getLogger("maildir_safe.queue")

_LARGEST_FILE = 4 << 20
_WORDS = 2, 3  # a server without a user needs no password


class SenderCourier:
    """Sends by the courier of the sender's address, of its domain, or by another one.

    Args:
        couriers: by address (``ann@example.com``) or domain (``@example.com``), in lower case.
        other: the courier of all other senders, and of bounces, which have none.
    """

    relays = True

    def __init__(self, couriers: Mapping[str, Courier], other: Courier) -> None:
        self._couriers = dict(couriers)
        self._other = other

    def __call__(self, request: DeliveryRequest) -> Mapping[str, RecipientStatus] | None:
        """See `maildir_safe._queue.couriers.courier.Courier`."""
        return self._couriers.get(self.route(request.sender), self._other)(request)

    def route(self, sender: str) -> str:
        """See `maildir_safe._queue.couriers.courier.HasRoutes`: the line of the file that applies."""
        for key in (sender.lower(), f"@{domain_of(sender)}"):
            if key in self._couriers:
                return key
        return ""

    def close(self) -> None:
        """End the connections that wait for another message."""
        close_connections(self._other, *self._couriers.values())


def read_couriers(path: str, make: Callable[[str, str | None], Courier]) -> dict[str, Courier]:
    """Read the file. Senders with the same server and password file share a courier, and its connections.

    Args:
        path: the file.
        make: makes the courier of a server, with the path of a file that holds the password, or None.

    Raises:
        ValueError: a line is not valid; the text names it by its number.
        OSError: the file, or one with a password, cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read(_LARGEST_FILE + 1)
    if len(data) > _LARGEST_FILE:
        raise ValueError(f"{path}: has more than {_LARGEST_FILE} bytes: give a domain one line, @domain")
    made: dict[tuple[str, str | None], Courier] = {}
    couriers: dict[str, Courier] = {}
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: save it as UTF-8: {error}") from None
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            sender, server, password_file = _checked(words)
            if sender in couriers:
                raise ValueError(f"{words[0]!a} stands there twice")
            if (server, password_file) not in made:
                made[server, password_file] = make(server, password_file)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        couriers[sender] = made[server, password_file]
    if not couriers:
        log.warning("%s: names no sender", path)
    return couriers


def _checked(words: list[str]) -> tuple[str, str, str | None]:
    if len(words) not in _WORDS:
        raise ValueError("a line is a sender, a server and perhaps a file with the password")
    local, at, domain = words[0].rpartition("@")
    if not at or not domain or "@" in local:
        raise ValueError(f"{words[0]!a} is neither user@domain nor @domain")
    return words[0].lower(), words[1], words[2] if len(words) == max(_WORDS) else None
