"""The header of the PROXY protocol, versions 1 and 2: a proxy names its client before the client speaks.

See HAProxy's proxy-protocol.txt. Only the client's address is used. Ports, the address that the client
connected to, and TLVs are checked for their length and ignored.
"""

from __future__ import annotations

import ipaddress
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""What a header of version 2 begins with."""

MAX_V1 = 107
"""Longest header of version 1, in bytes with its line end, as the specification says."""

MAX_V2 = 4096
"""Longest header of version 2 that is accepted, in bytes. TLVs may hold a client's certificate's name."""

_LOCAL, _PROXY = 0x20, 0x21
_ADDRESSES = {0x11: (4, 12), 0x21: (16, 36)}  # TCP over IPv4 and IPv6: bytes of an address, and of all
_UNKNOWN = {0x00: 0, 0x31: 216}  # unspecified, and unix sockets: no client's address is given


class NotAProxyHeader(Exception):
    """What came is no header of the PROXY protocol, or a malformed or too long one."""


def parse(data: bytes | bytearray) -> tuple[int, str] | None:
    """Parse the header that a connection begins with.

    Args:
        data: what has arrived so far.

    Returns:
        None if more bytes are needed. Otherwise the length of the header in bytes, and the client's IP
        address; ``""`` if the proxy speaks for itself (LOCAL) or does not know the client's address.

    Raises:
        NotAProxyHeader: there is no such header.
    """
    if data.startswith(SIGNATURE):
        return _version_2(data)
    if data.startswith(b"PROXY "):
        return _version_1(data)
    if SIGNATURE.startswith(data) or b"PROXY ".startswith(data):
        return None
    raise NotAProxyHeader("no header")


def _version_1(data: bytes | bytearray) -> tuple[int, str] | None:
    end = data.find(b"\r\n", 0, MAX_V1)
    if end < 0:
        if len(data) >= MAX_V1:
            raise NotAProxyHeader("a header without an end")
        return None
    words = data[:end].decode("ascii", "replace").split(" ")
    if words[1] == "UNKNOWN":
        return end + 2, ""
    if len(words) != 6 or not all(map(_is_port, words[4:])):
        raise NotAProxyHeader("a malformed header")
    kinds = {"TCP4": ipaddress.IPv4Address, "TCP6": ipaddress.IPv6Address}
    try:
        if "%" in words[2] + words[3]:  # a zone, which may be any text
            raise ValueError
        client, _ = [kinds[words[1]](word) for word in words[2:4]]
    except (KeyError, ValueError):
        raise NotAProxyHeader("a malformed header") from None
    return end + 2, str(client)


def _is_port(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= 5 and int(word) < 65536


def _version_2(data: bytes | bytearray) -> tuple[int, str] | None:
    start = len(SIGNATURE) + 4
    if len(data) < start:
        return None
    command, family, length = struct.unpack_from("!BBH", data, len(SIGNATURE))
    if start + length > MAX_V2:
        raise NotAProxyHeader("a header that is too long")
    if command not in (_LOCAL, _PROXY):
        raise NotAProxyHeader("an unknown version or command")
    if command == _PROXY:
        size, needed = _ADDRESSES.get(family, (0, _UNKNOWN.get(family, MAX_V2)))
        if length < needed:
            raise NotAProxyHeader("an unknown kind of address, or a header that is too short")
    if len(data) < start + length:
        return None
    if command == _LOCAL or not size:
        return start + length, ""
    return start + length, str(ipaddress.ip_address(bytes(data[start : start + size])))
