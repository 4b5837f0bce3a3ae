"""STARTTLS (RFC 3207)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maildir_safe._smtp.protocol.extension import Extension
from maildir_safe._smtp.protocol.replies import Refused

if TYPE_CHECKING:
    from maildir_safe._smtp.server.connection import Connection


async def start_tls(connection: Connection, argument: str) -> None:
    """STARTTLS: do the handshake. The client must then greet again (RFC 3207 4.2)."""
    if argument:
        raise Refused("501 5.5.4 Syntax: STARTTLS")
    if connection.context.tls is None:
        raise Refused("502 5.5.1 No TLS here")
    if connection.encrypted:
        raise Refused("503 5.5.1 TLS is on already")
    await connection.start_tls("220 2.0.0 Ready to start TLS")


STARTTLS = Extension(lambda offer: "STARTTLS" if offer.starttls else "", verbs={"STARTTLS": start_tls})
