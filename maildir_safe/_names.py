"""The codec of a message's file name: makes unique names, parses names and builds them. Touches no file.

The fields that a queue adds to its items' names are parsed in `maildir_safe._queue.store.item`.

A name is ``<sec>.M<usec>P<pid>Q<n>R<random>.<host>,S=<bytes>``; in cur/ the info follows:
a separator, ``2,`` and the flags (https://cr.yp.to/proto/maildir.html; `,S=` is Maildir++).
``I<hash>`` follows the random part when the delivery has an id. With a host of 40
characters and ten flags this is under 143 bytes, the shortest limit measured (securefs),
and it never ends in ``@sys`` or ``@cpu``, which Coda and AFS expand.

Other programs write more into an info: ``:2,S,Z`` (what follows the second comma is another
field), ``:2,:2,S`` (the info was added twice), ``!2,S`` (another separator). A change of flags
keeps everything there that is not a flag.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from maildir_safe._fs import FileSystem

SEPARATORS = ":;!"
"""The separators between key and info: ``:`` is standard; some mounts and programs use another."""

_INFO_STARTS = (":2,", ";2,", "!2,", ":1,", ";1,")
_HOST_LIMIT = 40
_ID_BYTES = 10
_STRAYS = ("lost+found", "maildirfolder", "maildirsize")
FOLDER_MARK = "maildirfolder"
"""The empty file that makes a directory a folder of the Maildir above it (Maildir++)."""


def host_token(hostname: str) -> str:
    r"""Return the host part of a unique name: at most 40 characters, escaped as qmail does.

    Beside ``/`` and ``:``, also ``@`` and ``,`` are escaped (Coda expands ``@sys``; a comma begins
    a field). Any character that is not printable ASCII becomes ``_``.
    """
    escaped = {"/": r"\057", ":": r"\072", ";": r"\073", "!": r"\041", "@": r"\100", ",": r"\054"}
    token = "".join(escaped.get(c, c if "!" <= c <= "~" else "_") for c in hostname)
    return token[:_HOST_LIMIT].lstrip(".") or "localhost"


def id_hash(delivery_id: str) -> str:
    """Return the part of a name that represents a delivery id: ``I`` and 80 bits in hexadecimal.

    Raises:
        ValueError: the id is empty or blank. All messages with such an id would be treated as one.
    """
    if not delivery_id.strip():
        raise ValueError(f"a delivery id must not be empty or blank, as {delivery_id!r} is")
    try:  # hashlib loads OpenSSL, a third of a delivery agent's start-up; and most deliveries have no id
        from _blake2 import blake2b
    except ImportError:  # pragma: no cover - an interpreter without the built-in module
        from hashlib import blake2b
    raw = delivery_id.encode("utf-8", "surrogateescape")
    return "I" + blake2b(raw, digest_size=_ID_BYTES).hexdigest()


def carries(name: str, hashed_id: str) -> bool:
    """Report whether `name` belongs to the delivery with this `id_hash`."""
    return hashed_id in name.partition(",")[0]


def with_size(unique: str, size: int) -> str:
    """Return a unique name with the message's size in bytes, which `size_of` parses."""
    return f"{unique},S={size}"


class UniqueNames:
    """Makes names that no other delivery ever makes, on any host.

    The 64 random bits alone make a name unique. Time, process and host are there for people
    who read a listing and for programs that sort by name.

    Args:
        fs: the source of the clock and the random bits.
        pid: this process's id.
        host: a `host_token`.
    """

    def __init__(self, fs: FileSystem, pid: int, host: str) -> None:
        self._fs = fs
        self._pid = pid
        self._host = host
        self._count = 0

    def new(self, hashed_ids: Sequence[str]) -> list[str]:
        """Return the first parts of new names, one for each `id_hash` (``""``: no delivery id)."""
        micros = str(self._fs.time_ns() // 1000)
        seconds, micros = micros[:-6], micros[-6:]
        random = self._fs.random(8 * len(hashed_ids)).hex()  # each time: a fork must not repeat its parent's
        names = []
        for at, hashed_id in enumerate(hashed_ids):
            # two threads may use the same count: only the random bits make the name unique
            self._count += 1
            bits = random[16 * at : 16 * at + 16]
            names.append(f"{seconds}.M{micros}P{self._pid}Q{self._count}R{bits}{hashed_id}.{self._host}")
        return names

    complete = staticmethod(with_size)  # a message in a Maildir, without info


def split(name: str) -> tuple[str, str]:
    """Split a file name into (key, info): ``"a:2,S"`` is ``("a", ":2,S")``. All `SEPARATORS` are accepted.

    The key stays the same while readers change flags.
    """
    if not (";" in name or "!" in name or ":1," in name):  # the usual case; a listing may have 100,000 names
        at = name.find(":2,", 1)
        return (name, "") if at < 0 else (name[:at], name[at:])
    end = len(name)
    for start in _INFO_STARTS:
        at = name.find(start, 1, end + 2)
        if at >= 0:
            end = at
    return name[:end], name[end:]


def fields(info: str) -> tuple[str, str, str]:
    """Split an info such as ``:2,RS,Z`` into the part before its flags, the flags, and the rest.

    The rest begins with the comma. An info of another version (``:1,``) has no flags, nor has ``""``:
    all three parts are then ``""``.
    """
    at = 0
    while info[at : at + 1] in SEPARATORS and info[at + 1 : at + 3] == "2,":
        at += 3
    if not at:
        return "", "", ""
    flags, comma, rest = info[at:].partition(",")
    return info[:at], flags, comma + rest


def flags_of(info: str) -> str:
    """Return the flags in an info such as ``:2,RS``, or ``""``. Only ASCII letters are flags."""
    return "".join(c for c in fields(info)[1] if _is_flag(c))


def with_flags(key: str, flags: str, separator: str, info: str = "") -> str:
    """Return the name in cur/ for a key and flags. The flags are sorted, and duplicates are dropped.

    Args:
        key: the key, as `split` returns it.
        flags: ASCII letters.
        separator: the separator for a name that has no info yet.
        info: the present info of the name; everything in it except its flags is kept.

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
    """Return the message's size in bytes as given in its name (``,S=``), or None."""
    for field in split(name)[0].split(",")[1:]:
        if field.startswith("S=") and field[2:].isdecimal() and field.isascii():
            return int(field[2:])
    return None


def arrival_time(name: str) -> tuple[int, int] | None:
    """Return the time in a name as (seconds since 1970, microseconds), or None if it does not begin with one.

    The microseconds (``M<usec>``) are 0 where a name has none.
    """
    seconds, dot, rest = name.partition(".")
    if not (dot and seconds.isdecimal() and seconds.isascii()):
        return None
    if rest[:1] != "M":
        return int(seconds), 0
    end = len(rest) - len(rest[1:].lstrip("0123456789"))
    return int(seconds), int(rest[1:end] or 0)


def may_be_message(name: str) -> bool:
    """Report whether a name in new/ or cur/ can be a message: dot files (``.nfs…``) and strays are not."""
    return not name.startswith(".") and name not in _STRAYS


def is_unique(name: str) -> bool:
    """Report whether a name has the form of a unique name (``<digits>.<unique part>.<host>``).

    Other names may be strays, such as directories, so their type is checked before they are listed.
    """
    seconds, _, rest = name.partition(".")
    return rest.find(".", 1) > 0 and seconds.isdecimal()
