"""AUTH PLAIN and LOGIN (RFC 4954, RFC 4616), and the file of names and passwords.

CRAM-MD5 (RFC 2195) is for testing senders that know nothing else. It cannot be checked against a hash, so it
exists only where any password is accepted.

Each line of the file is ``name:$scrypt$ln=14,r=8,p=1$salt$hash``; empty lines and lines that begin
with ``#`` are skipped. ``maildir-safe passwd FILE NAME`` writes such a line.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING

from maildir_safe._smtp.protocol.replies import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

MECHANISMS = ("PLAIN", "LOGIN")
TEST_MECHANISMS = (*MECHANISMS, "CRAM-MD5")
"""The mechanisms that can be offered where any password is accepted."""

MAX_FAILURES = 3
"""Wrong passwords in one connection before it is closed."""

_HASH = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)")
_CRAM_RESPONSE = re.compile(r"(.+) [0-9a-f]{32}", re.DOTALL)
_LN, _R, _P = 14, 8, 1  # 16 MiB and some 40 ms of CPU


class Passwords:
    """Names with the hashes of their passwords.

    Args:
        hashes: the hashes by name, in the form of `hash_password`.

    Raises:
        ValueError: a hash has another form.
    """

    def __init__(self, hashes: dict[str, str]) -> None:
        for name, hashed in hashes.items():
            if not _HASH.fullmatch(hashed):
                raise ValueError(
                    f"the password of {name!r} is not a scrypt hash (maildir-safe passwd writes it)"
                )
        self._hashes = hashes
        self._nobody = hash_password(secrets.token_hex())

    @classmethod
    def read(cls, path: str) -> Passwords:
        """Read them from a file.

        Raises:
            ValueError: a line has another form. OSError: the file cannot be read.
        """
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file]
        found = {}
        for number, line in enumerate(lines, 1):
            if line and not line.startswith("#"):
                name, colon, hashed = line.partition(":")
                if not colon or not _HASH.fullmatch(hashed):
                    raise ValueError(f"{path}:{number}: not 'name:$scrypt$…' (maildir-safe passwd writes it)")
                found[name] = hashed
        return cls(found)

    def check(self, name: str, password: str) -> bool:
        """Whether `password` is right. Takes about 40 ms of CPU, and as long for an unknown name."""
        right = matches(self._hashes.get(name, self._nobody), password)
        return right and name in self._hashes


def hash_password(password: str) -> str:
    """Make a salted scrypt hash (RFC 7914) in the PHC string format."""
    salt = secrets.token_bytes(16)
    hashed = _scrypt(password, salt, _LN, _R, _P)
    return f"$scrypt$ln={_LN},r={_R},p={_P}${_base64(salt)}${_base64(hashed)}"


def matches(hashed: str, password: str) -> bool:
    """Whether `password` is the one that was hashed."""
    match = _HASH.fullmatch(hashed)
    assert match  # checked by Passwords
    salt, expected = (base64.b64decode(part + "=" * (-len(part) % 4)) for part in match.group(4, 5))
    ln, r, p = (int(part) for part in match.group(1, 2, 3))
    return hmac.compare_digest(_scrypt(password, salt, ln, r, p), expected)


async def credentials(
    mechanism: str,
    initial: str,
    ask: Callable[[bytes], Awaitable[bytes]],
    offered: Sequence[str] = MECHANISMS,
) -> tuple[str, str]:
    """Ask the client for its name and password. Raises `Refused`.

    Args:
        mechanism: the mechanism, in upper case.
        initial: the initial response, in base64, or ``""``.
        ask: sends a challenge and returns the client's line, both in base64.
        offered: the mechanisms that the server offers. With CRAM-MD5 the password is ``""``, since the
            client does not send it.
    """
    if mechanism not in offered:
        raise Refused(f"504 5.5.4 AUTH is {' or '.join(offered)}")
    if mechanism == "CRAM-MD5":
        return await _cram_md5(initial, ask), ""
    first = initial.encode("ascii", "replace")
    if mechanism == "PLAIN":
        parts = _decode(first or await ask(b"")).split("\0")
        if len(parts) != 3:
            raise Refused("501 5.5.2 Malformed credentials")
        if parts[0] not in ("", parts[1]):
            raise Refused("535 5.7.8 Authorization identity must match the user name")  # RFC 4616: authzid
        return parts[1], parts[2]
    name = _decode(first or await ask(base64.b64encode(b"Username:")))
    return name, _decode(await ask(base64.b64encode(b"Password:")))


async def _cram_md5(initial: str, ask: Callable[[bytes], Awaitable[bytes]]) -> str:
    if initial:
        raise Refused("501 5.7.0 CRAM-MD5 has no initial response")
    challenge = f"<{secrets.token_hex(16)}@maildir-safe>"
    match = _CRAM_RESPONSE.fullmatch(_decode(await ask(base64.b64encode(challenge.encode()))))
    if match is None:
        raise Refused("501 5.5.2 Malformed credentials")
    return match[1]


def _decode(line: bytes) -> str:
    if line == b"*":
        raise Refused("501 5.7.0 Authentication cancelled")
    try:
        return base64.b64decode(b"" if line == b"=" else line, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Refused("501 5.5.2 Not base64 of UTF-8 text") from None


def _scrypt(password: str, salt: bytes, ln: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**ln, r=r, p=p, maxmem=256 * 2**ln * r, dklen=32)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")
