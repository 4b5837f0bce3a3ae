"""Folders in the manner of Maildir++: directories ``.Name.Sub`` beside tmp/, new/ and cur/.

Names travel as modified UTF-7 (RFC 3501 section 5.1.3), as Courier and Dovecot store them. What a
name means, and what mail servers' own delivery agents make of it:

* ``INBOX``, in upper or lower case: the Maildir itself, as everywhere in IMAP.
* ``INBOX.Sent``: the folder ``.INBOX.Sent``, as dovecot-lda has it. Where an IMAP server shows all
  folders below INBOX (Courier; Dovecot with the prefix ``INBOX.``), that is its ``INBOX.INBOX.Sent``,
  and its ``INBOX.Sent`` is ``Sent`` here, as in maildrop.
* ``/``: in no name. dovecot-lda has it where the layout or the separator is another; a folder of a
  Maildir++ has parts with dots between.
* A leading dot: the directory's own name, as maildrop and procmail write it. ``.Sent`` is ``Sent``;
  and a directory whose name no encoding gives, such as one in plain UTF-8, has no other name.
"""

from __future__ import annotations

from maildir_safe._fs.stored_options import STORED
from maildir_safe._handoff.rename import close_quietly
from maildir_safe._maildir.conflict import in_conflict
from maildir_safe.errors import storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem


def folder_directory(name: str, made: bool = True) -> str:
    """The directory of a folder: ``"Archive.2026"`` is ``".Archive.2026"``; ``""`` for the inbox.

    Args:
        made: the folder may be made; else a name with control characters, which nobody here gives to
            a folder, is taken where it is a directory's own.

    Raises:
        ValueError: a name that is empty, could leave the Maildir, or has an empty part.
    """
    if name.upper() == "INBOX":
        return ""
    own = name.startswith(".")
    parts = name[own:].split(".")
    control = any(ord(c) < 32 or ord(c) == 127 for c in name)
    if not all(parts) or "/" in name or "\0" in name or (control and (made or not own)):
        raise ValueError(
            f"{name!r} is no folder name: parts with single dots between, no '/', no control characters"
        )
    directory = name if own else "." + _encode(name)
    if made and len(directory.encode("utf-8", "surrogateescape")) > 200:
        raise ValueError(f"the folder name {name[:40]!r}... is too long: at most 199 bytes when encoded")
    return directory


def folders_in(fs: FileSystem, root: int, path: str) -> list[str]:
    """The names of all folders in an open Maildir, sorted. Raises TemporaryError: it cannot be listed."""
    try:
        entries = [entry for entry in fs.listdir(root) if _may_be_folder(entry)]
    except OSError as error:
        raise storage_error(f"list {path}", error) from error
    return sorted(folder_name(entry) for entry in entries if _is_directory(fs, entry, root))


def folder_name(directory: str) -> str:
    """The name under which `folder_directory` gives this directory, and no other."""
    name = _decode(directory[1:])
    try:
        return name if folder_directory(name) == directory else directory
    except (ValueError, UnicodeEncodeError):
        return directory


def _may_be_folder(entry: str) -> bool:
    return entry.startswith(".") and all(entry[1:].split(".")) and entry != STORED


def _is_directory(fs: FileSystem, entry: str, root: int) -> bool:
    """A link in conflict (Coda) counts: whoever opens it is told."""
    try:
        if in_conflict(fs, entry, root):
            return True
        close_quietly(fs, fs.open_dir(entry, root))
    except FileNotFoundError:
        return False
    except OSError as error:
        return not isinstance(error, NotADirectoryError)
    return True


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
