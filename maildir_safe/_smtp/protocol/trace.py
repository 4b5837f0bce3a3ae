"""The Received header that this server puts on top of a message (RFC 5321 4.4, RFC 3848, RFC 6531). Pure.

The header shows the name that the client gave, reduced to the characters of host names and address
literals.
"""

from __future__ import annotations

from maildir_safe._delivery.trace_headers import client_name, date

__all__ = ["client_name", "date", "protocol", "received"]


def protocol(lmtp: bool, extended: bool, tls: bool, authenticated: bool, utf8: bool) -> str:
    """The protocol name after ``with``: SMTP, ESMTPSA, LMTPS, UTF8SMTP ... (RFC 3848, RFC 6531)."""
    if lmtp:
        base = "UTF8LMTP" if utf8 else "LMTP"
    elif utf8:
        base = "UTF8SMTP"
    else:
        base = "ESMTP" if extended else "SMTP"
    if base == "SMTP":
        return base
    return base + "S" * tls + "A" * authenticated


def received(client: str, peer: str, host: str, via: str, recipient: str | None, when: float) -> bytes:
    """A ``Received`` header with its final line end.

    Args:
        client: the name that the client gave, cleaned by `client_name`.
        peer: the client's IP address; ``""`` on a unix socket.
        host: our own name.
        via: the protocol name, from `protocol`.
        recipient: the only recipient; None if there are several, so that none learns of the others.
        when: seconds since 1970.
    """
    literal = f" ([{'IPv6:' if ':' in peer else ''}{peer}])" if peer else " (local)"
    target = f"\n\tfor <{recipient}>" if recipient else ""
    source = (client or "unknown") + literal
    return f"Received: from {source}\n\tby {host} with {via}{target}; {date(when)}\n".encode()
