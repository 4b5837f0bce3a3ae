"""The pairs of directories that form a handoff. A link between any other two is left to the kernel."""

from __future__ import annotations

PAIRS = (
    "tmp:new", "tmp:cur", "new:cur",  # Maildir
    "pid:mess/*", "intd:todo", "intd/*:todo/*",  # qmail; the last with conf-split'ed (big) todo
    "tmp:queue",  # nullmailer
)  # fmt: skip
"""The known handoffs: the last parts of two paths whose beginnings are equal."""

_SHARED = frozenset({"new", "cur"})


class Pairs:
    """Recognises handoffs.

    Args:
        more: pairs in addition to `PAIRS`, ``"SRC:DST"``; each part of a path may be ``*``.

    Raises:
        ValueError: a pair is invalid.
    """

    def __init__(self, more: tuple[str, ...] = ()) -> None:
        self._known = [_parse(pair) for pair in PAIRS + more]

    def match(self, src: str, dst: str) -> str | None:
        """The handoff from one directory to another, such as ``"tmp:new"``; None if it is not a handoff.

        Args:
            src, dst: the directories' absolute paths, without symbolic links.
        """
        if src == dst:  # a lock, or a second link: never a handoff
            return None
        ours, theirs = src.strip("/").split("/"), dst.strip("/").split("/")
        for name, src_parts, dst_parts in self._known:
            base = len(ours) - len(src_parts)
            if (
                base >= 0
                and len(theirs) - len(dst_parts) == base
                and ours[:base] == theirs[:base]
                and _fits(src_parts, ours[base:])
                and _fits(dst_parts, theirs[base:])
            ):
                return name
        return None


def private(pair: str) -> bool:
    """Whether only the program moves the source; in new/ and cur/ any reader may move it."""
    return pair.split(":")[0].rpartition("/")[2] not in _SHARED


def _parse(pair: str) -> tuple[str, list[str], list[str]]:
    src, colon, dst = pair.partition(":")
    parts = [src.strip("/").split("/"), dst.strip("/").split("/")]
    if not colon or any(part in ("", ".", "..") for side in parts for part in side):
        raise ValueError(f"{pair!r} is not a pair of directories: it must be like tmp:new or pid:mess/*")
    if src.strip("/") == dst.strip("/"):
        raise ValueError(f"{pair!r}: a link inside one directory may be a lock, and is never changed")
    return pair, parts[0], parts[1]


def _fits(pattern: list[str], parts: list[str]) -> bool:
    return all(wanted in ("*", part) for wanted, part in zip(pattern, parts, strict=True))
