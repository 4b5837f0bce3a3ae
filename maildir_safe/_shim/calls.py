"""The system calls that the shim catches, by architecture, and the positions of their arguments.

The numbers come from the kernel's own tables: arch/x86/entry/syscalls/syscall_64.tbl and syscall_32.tbl,
and include/uapi/asm-generic/unistd.h for aarch64. The architecture constants come from
include/uapi/linux/audit.h. x32 programs have other numbers and are not caught.
"""

from __future__ import annotations

LINK = "link"
UNLINK = "unlink"
RENAME = "rename"
SANDBOX = "sandbox"
"""The kinds of caught calls. `SANDBOX`: the caller gives up rights in a way that the shim cannot see."""

AT_FDCWD = -100
AT_REMOVEDIR = 0x200
RENAME_NOREPLACE = 1

X86_64 = 0xC000003E
I386 = 0x40000003
AARCH64 = 0xC00000B7

_SANDBOX = {"landlock_restrict_self": 446}
NUMBERS = {
    X86_64: {
        "link": 86, "linkat": 265, "unlink": 87, "unlinkat": 263,
        "rename": 82, "renameat": 264, "renameat2": 316, **_SANDBOX,
    },
    I386: {
        "link": 9, "linkat": 303, "unlink": 10, "unlinkat": 301,
        "rename": 38, "renameat": 302, "renameat2": 353, **_SANDBOX,
    },
    AARCH64: {"linkat": 37, "unlinkat": 35, "renameat": 38, "renameat2": 276, **_SANDBOX},
}  # fmt: skip
"""System call numbers by architecture and name."""

SECCOMP = {X86_64: 317, I386: 354, AARCH64: 277}
"""The number of seccomp(2) itself."""

MACHINES = {("x86_64", 8): X86_64, ("x86_64", 4): I386, ("i686", 4): I386, ("aarch64", 8): AARCH64}
"""The interpreter's architecture, by uname's machine and the size of a pointer in bytes."""

# kind, then the positions of: source directory, source path, target directory, target path, flags
_SHAPES = {
    "link": (LINK, None, 0, None, 1, None),
    "linkat": (LINK, 0, 1, 2, 3, 4),
    "unlink": (UNLINK, None, 0, None, None, None),
    "unlinkat": (UNLINK, 0, 1, None, None, 2),
    "rename": (RENAME, None, 0, None, 1, None),
    "renameat": (RENAME, 0, 1, 2, 3, None),
    "renameat2": (RENAME, 0, 1, 2, 3, 4),
    "landlock_restrict_self": (SANDBOX, None, None, None, None, 1),
}
_NAMES = {arch: {number: name for name, number in table.items()} for arch, table in NUMBERS.items()}


class Call:
    """A caught call.

    Attributes:
        name: the name in the kernel's table, such as ``"linkat"``.
        kind: `LINK`, `UNLINK`, `RENAME` or `SANDBOX`.
        paths: per path the caller's descriptor of the directory (or `AT_FDCWD`) and the address of the
            text in the caller's memory; the source first.
        flags: the call's flags, 0 if it has none.
    """

    __slots__ = ("flags", "kind", "name", "paths")

    def __init__(self, name: str, kind: str, paths: list[tuple[int, int]], flags: int) -> None:
        self.name = name
        self.kind = kind
        self.paths = paths
        self.flags = flags


def decode(arch: int, number: int, args: tuple[int, ...]) -> Call | None:
    """Decode a call; None if the shim does not catch it."""
    name = _NAMES.get(arch, {}).get(number)
    if name is None:
        return None
    kind, *places, flags_at = _SHAPES[name]
    paths = []
    for dir_at, path_at in (places[:2], places[2:]):
        if path_at is not None:
            paths.append((AT_FDCWD if dir_at is None else _signed(args[dir_at]), args[path_at]))
    return Call(name, kind, paths, 0 if flags_at is None else args[flags_at] & 0xFFFFFFFF)


def _signed(value: int) -> int:
    """An argument that is a C int: the upper half of the register means nothing."""
    return (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
