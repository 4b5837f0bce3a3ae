"""The only codec of a message's file name: made unique, taken apart, put together. No file is touched.

A name is ``<sec>.M<usec>P<pid>Q<n>R<random>.<host>,S=<bytes>``; in cur/ the info follows:
a separator, ``2,`` and the flags (https://cr.yp.to/proto/maildir.html; `,S=` is Maildir++).
``I<hash>`` stands after the random part when the delivery was given an id. With a host of 40
characters and ten flags this is under 143 bytes, the shortest limit measured (securefs),
and it never ends in ``@sys`` or ``@cpu``, which Coda and AFS expand.

Other programs write more into an info: ``:2,S,Z`` (what follows the second comma is another
field), ``:2,:2,S`` (the info was added twice), ``!2,S`` (another separator). A change of flags
keeps everything there that is no flag.
"""

from __future__ import annotations

try:  # hashlib loads OpenSSL, a third of a delivery agent's start-up; `random` does the same
    from _blake2 import blake2b
except ImportError:  # pragma: no cover - an interpreter without the built-in module
    from hashlib import blake2b

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from maildir_safe._fs import FileSystem

SEPARATORS = ":;!"
"""What divides key and info: ``:`` by the standard, the others where a mount or a program avoids it."""

_INFO_STARTS = (":2,", ";2,", "!2,", ":1,", ";1,")
_HOST_LIMIT = 40
_ID_BYTES = 10
_STRAYS = ("lost+found", "maildirfolder", "maildirsize")
FOLDER_MARK = "maildirfolder"
"""The empty file that makes a directory a folder of the Maildir above it (Maildir++)."""


def host_token(hostname: str) -> str:
    r"""The host's part of a unique name: ``/`` and ``:`` escaped as qmail does, 40 characters at most.

    ``@`` and ``,`` are escaped as well (Coda expands ``@sys``; a comma begins a field), and what
    is not printable ASCII becomes ``_``.
    """
    escaped = {"/": r"\057", ":": r"\072", ";": r"\073", "!": r"\041", "@": r"\100", ",": r"\054"}
    token = "".join(escaped.get(c, c if "!" <= c <= "~" else "_") for c in hostname)
    return token[:_HOST_LIMIT].lstrip(".") or "localhost"


def id_hash(delivery_id: str) -> str:
    """The part of a name that stands for a delivery id: ``I`` and 80 bits in hexadecimal.

    Raises:
        ValueError: the id is empty or blank. All messages with it would be taken for one.
    """
    if not delivery_id.strip():
        raise ValueError(f"a delivery id tells messages apart, and {delivery_id!r} does not")
    raw = delivery_id.encode("utf-8", "surrogateescape")
    return "I" + blake2b(raw, digest_size=_ID_BYTES).hexdigest()


def carries(name: str, hashed_id: str) -> bool:
    """Whether `name` belongs to the delivery whose `id_hash` is given."""
    return hashed_id in name.partition(",")[0]


class UniqueNames:
    """Makes names that no other delivery ever makes, on any host.

    64 random bits alone do that; time, process and host are there for people who read
    a listing and for programs that sort by name.

    Args:
        fs: where the clock and the random bits come from.
        pid: this process's id.
        host: a `host_token`.
    """

    def __init__(self, fs: FileSystem, pid: int, host: str) -> None:
        self._fs = fs
        self._pid = pid
        self._host = host
        self._count = 0

    def new(self, hashed_ids: Sequence[str]) -> list[str]:
        """Fresh unique names, without size and info, one for each `id_hash` (``""``: no delivery id)."""
        micros = str(self._fs.time_ns() // 1000)
        seconds, micros = micros[:-6], micros[-6:]
        random = self._fs.random(8 * len(hashed_ids)).hex()  # each time: a fork must not repeat its parent's
        names = []
        for at, hashed_id in enumerate(hashed_ids):
            # two threads may take the same count: it is for people, the random bits are what counts
            self._count += 1
            bits = random[16 * at : 16 * at + 16]
            names.append(f"{seconds}.M{micros}P{self._pid}Q{self._count}R{bits}{hashed_id}.{self._host}")
        return names


def with_size(unique: str, size: int) -> str:
    """A unique name with the message's size in bytes, which `size_of` reads."""
    return f"{unique},S={size}"


def split(name: str) -> tuple[str, str]:
    """A file name as (key, info): ``"a:2,S"`` is ``("a", ":2,S")``; each of `SEPARATORS` is understood.

    The key is what stays the same while readers change flags.
    """
    if not (";" in name or "!" in name or ":1," in name):  # nearly all; there may be 100,000 to list
        at = name.find(":2,", 1)
        return (name, "") if at < 0 else (name[:at], name[at:])
    end = len(name)
    for start in _INFO_STARTS:
        at = name.find(start, 1, end + 2)
        if at >= 0:
            end = at
    return name[:end], name[end:]


def fields(info: str) -> tuple[str, str, str]:
    """An info such as ``:2,RS,Z`` as what stands before its flags, the flags, and the rest from the comma on.

    An info of another version (``:1,``) has no flags, and neither has ``""``: three times ``""``.
    """
    at = 0
    while info[at : at + 1] in SEPARATORS and info[at + 1 : at + 3] == "2,":
        at += 3
    if not at:
        return "", "", ""
    flags, comma, rest = info[at:].partition(",")
    return info[:at], flags, comma + rest


def flags_of(info: str) -> str:
    """The flags in an info such as ``:2,RS``; ``""`` where there are none. Only ASCII letters are flags."""
    return "".join(c for c in fields(info)[1] if _is_flag(c))


def with_flags(key: str, flags: str, separator: str, info: str = "") -> str:
    """The name in cur/ for a key and flags, which are sorted and made unique.

    Args:
        key: see `split`.
        flags: ASCII letters.
        separator: for a name that has no info yet.
        info: what the name has now; everything in it but its flags is kept.

    Raises:
        ValueError: a flag that is not an ASCII letter.
    """
    if not all(_is_flag(c) for c in flags):
        raise ValueError(f"flags are ASCII letters such as 'RS', not {flags!r}")
    start, old, rest = fields(info)
    unknown = "".join(c for c in old if not _is_flag(c))
    return f"{key}{start or separator + '2,'}{''.join(sorted(set(flags)))}{unknown}{rest}"


def _is_flag(c: str) -> bool:
    return c.isascii() and c.isalpha()


def size_of(name: str) -> int | None:
    """The message's size in bytes as its name tells it (``,S=``), or None."""
    for field in split(name)[0].split(",")[1:]:
        if field.startswith("S=") and field[2:].isdecimal() and field.isascii():
            return int(field[2:])
    return None


def may_be_message(name: str) -> bool:
    """Whether a name in new/ or cur/ can be a message: dot files (``.nfs…``) and strays are not."""
    return not name.startswith(".") and name not in _STRAYS


def is_unique(name: str) -> bool:
    """Whether a name has the shape of a unique name (``<digits>.<unique part>.<host>``).

    Others may be strays, directories for instance, and are looked at before they are listed.
    """
    seconds, _, rest = name.partition(".")
    return rest.find(".", 1) > 0 and seconds.isdecimal()
