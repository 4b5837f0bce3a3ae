"""Maildir++ folders: directories ``.Name.Sub`` beside tmp/, new/ and cur/.

Names are stored in modified UTF-7 (RFC 3501 section 5.1.3), as Courier and Dovecot do. These are the
rules for names, compared with the delivery agents of other mail servers:

* ``INBOX``, in upper or lower case, is the Maildir itself, as everywhere in IMAP.
* ``INBOX.Sent`` is the folder ``.INBOX.Sent``, as in dovecot-lda. An IMAP server that shows all folders
  below INBOX (Courier; Dovecot with the prefix ``INBOX.``) calls this folder ``INBOX.INBOX.Sent``. Its
  ``INBOX.Sent`` is ``Sent`` here, as in maildrop.
* ``/`` is not allowed in a name. dovecot-lda accepts it with other layouts or separators; the parts of a
  Maildir++ name are separated by dots.
* A name with a leading dot is the directory's own name, as maildrop and procmail write it: ``.Sent`` is
  ``Sent``. It is the only name of a directory whose name is not valid modified UTF-7, such as one in
  plain UTF-8.
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
    """Return the directory of a folder: ``"Archive.2026"`` is ``".Archive.2026"``; ``""`` is the inbox.

    Args:
        name: the folder's name.
        made: whether the folder may be created. If not, a name that begins with a dot may contain control
            characters, which this package never puts into a folder's name.

    Raises:
        ValueError: the name is empty, could lead out of the Maildir, or has an empty part.
    """
    if name.upper() == "INBOX":
        return ""
    own = name.startswith(".")
    parts = name[own:].split(".")
    control = any(ord(c) < 32 or ord(c) == 127 for c in name)
    if not all(parts) or "/" in name or "\0" in name or (control and (made or not own)):
        raise ValueError(
            f"{name!r} is not a folder name: parts with single dots between, no '/', no control characters"
        )
    directory = name if own else "." + _encode(name)
    if made and len(directory.encode("utf-8", "surrogateescape")) > 200:
        raise ValueError(f"the folder name {name[:40]!r}... is too long: at most 199 bytes when encoded")
    return directory


def folders_in(fs: FileSystem, root: int, path: str) -> list[str]:
    """Return the names of all folders in an open Maildir, sorted.

    Raises:
        TemporaryError: the Maildir cannot be listed.
    """
    try:
        entries = [entry for entry in fs.listdir(root) if _may_be_folder(entry)]
    except OSError as error:
        raise storage_error(f"list {path}", error) from error
    return sorted(folder_name(entry) for entry in entries if _is_directory(fs, entry, root))


def folder_name(directory: str) -> str:
    """Return the name that `folder_directory` maps to exactly this directory."""
    name = _decode(directory[1:])
    try:
        return name if folder_directory(name) == directory else directory
    except (ValueError, UnicodeEncodeError):
        return directory


def _may_be_folder(entry: str) -> bool:
    return entry.startswith(".") and all(entry[1:].split(".")) and entry != STORED


def _is_directory(fs: FileSystem, entry: str, root: int) -> bool:
    """Report whether an entry is a directory. A Coda conflict counts, so that opening it reports it."""
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
    """Decode modified UTF-7. An invalid name is returned as it is, since every folder must be listed."""
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
