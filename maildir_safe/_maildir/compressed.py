"""What Dovecot's mail_compress plugin writes: the file is shorter than the ``S=`` in its name, and whole."""

from __future__ import annotations

# RFC 1952, bzip2, xz, lz4 and Zstandard (RFC 8878)
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"Dovecot-": "lz4",
    b"\x28\xb5\x2f\xfd": "zstd",
}

HEAD = 8
"""Bytes at the beginning of a file that tell."""


def compression(head: bytes) -> str:
    """Return the name of the compression of a file that begins so; ``""`` if it is not compressed."""
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "")
