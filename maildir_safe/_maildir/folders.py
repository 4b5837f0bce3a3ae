"""Folders in the manner of Maildir++: directories ``.Name.Sub`` beside tmp/, new/ and cur/.

Names travel as modified UTF-7 (RFC 3501 section 5.1.3), as Courier and Dovecot store them.
"""

from __future__ import annotations

from maildir_safe._names import STORED


def folder_directory(name: str) -> str:
    """The directory of a folder: ``"Archive.2026"`` is ``".Archive.2026"``.

    Raises:
        ValueError: a name that is empty, could leave the Maildir, or has an empty part.
    """
    parts = name.split(".")
    if not all(parts) or "/" in name or any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise ValueError(
            f"{name!r} is no folder name: parts with single dots between, no '/', no control characters"
        )
    directory = "." + _encode(name)
    if len(directory) > 200:
        raise ValueError(f"the folder name {name[:40]!r}... is too long: at most 199 bytes when encoded")
    return directory


def folder_name(directory: str) -> str | None:
    """The folder that a directory entry holds, or None if it is not one."""
    parts = directory.split(".")
    if len(parts) < 2 or parts[0] or not all(parts[1:]) or directory == STORED:
        return None
    return _decode(directory[1:])


def _encode(text: str) -> str:
    out, run = [], ""
    for c in text + "\0":
        if " " <= c <= "~" or c == "\0":
            if run:
                packed = run.encode("utf-16-be", "surrogatepass")
                out.append(f"&{_base64(packed)}-")
                run = ""
            out.append({"&": "&-", "\0": ""}.get(c, c))
        else:
            run += c
    return "".join(out)


def _base64(data: bytes) -> str:
    from binascii import b2a_base64

    return b2a_base64(data, newline=False).rstrip(b"=").replace(b"/", b",").decode("ascii")


def _decode(text: str) -> str:
    """As stored if it is not valid modified UTF-7: a folder must be listed whatever its name."""
    from binascii import Error, a2b_base64

    out, rest = [], text
    while rest:
        plain, shift, rest = rest.partition("&")
        out.append(plain)
        if not shift:
            break
        packed, end, rest = rest.partition("-")
        if not end:
            return text
        if not packed:
            out.append("&")
            continue
        try:
            raw = a2b_base64(packed.replace(",", "/") + "=" * (-len(packed) % 4))
            out.append(raw.decode("utf-16-be"))
        except (Error, ValueError):
            return text
    return "".join(out)
