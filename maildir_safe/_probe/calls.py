"""Checks of the calls that a handoff needs: rename, link, O_EXCL, fsync."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from functools import partial

from maildir_safe._handoff.group_commit import UNSUPPORTED
from maildir_safe._probe.probe_directory import ProbeDirectory, named, said
from maildir_safe._probe.report import BAD, NOTE, OK, Check

_SYNCS = 10
_FREE = 1.5  # a synced write that costs less than this many unsynced ones was not synced


def check_renames(room: ProbeDirectory) -> Iterator[Check]:
    """Check rename across and within directories, onto a file and without replacing; and check links."""
    fs = room.fs
    for ident, target in (("rename-across", room.b), ("rename-within", room.a)):
        src, dst = room.put(room.a), room.fresh()
        number = room.errno(partial(fs.rename, src, dst, src_dir_fd=room.a, dst_dir_fd=target))
        moved = not number and room.has(target, dst) and not room.has(room.a, src)
        remedy = "" if moved else _remedy_of_rename(number)
        # one of the two is enough: staging="new" needs only the second
        result = OK if moved else (NOTE if number == errno.EXDEV and target == room.b else BAD)
        yield Check(
            ident, result, said(number) if moved or number else "both names there", remedy, named(number)
        )
    src, dst = room.put(room.a, data=b"new\n"), room.put(room.b, data=b"old\n")
    number = room.errno(lambda: fs.rename(src, dst, src_dir_fd=room.a, dst_dir_fd=room.b))
    yield Check("rename-onto", OK if not number else NOTE, said(number), value=named(number))
    src, dst = room.put(room.a), room.fresh()
    number = room.errno(lambda: fs.rename_noreplace(src, dst, src_dir_fd=room.a, dst_dir_fd=room.b))
    yield Check("rename-noreplace", OK, f"{said(number)}; not used", value=named(number))
    yield _directory(room)
    yield from _links(room)


def _directory(room: ProbeDirectory) -> Check:
    """Check the rename of a directory with contents, by which Maildirs and workers' directories are made."""
    fs, src, dst = room.fs, room.fresh(), room.fresh()
    held: list[str] = []

    def move() -> None:
        fs.mkdir(src, room.a)
        inside = fs.open_dir(src, room.a)
        try:
            room.put(inside, "held")
        finally:
            fs.close(inside)
        fs.rename(src, dst, src_dir_fd=room.a, dst_dir_fd=room.a)
        inside = fs.open_dir(dst, room.a)
        try:
            held.extend(fs.listdir(inside))
            room.errno(lambda: fs.unlink("held", dir_fd=inside))
        finally:
            fs.close(inside)

    number = room.errno(move)
    room.errno(lambda: fs.rmdir(dst, room.a))
    kept = held == ["held"]
    text = said(number) if number else "keeps what it holds" if kept else "it is EMPTY afterwards"
    remedy = "" if kept else "folders that are renamed lose their mail: use another file system"
    value = named(number) if number or kept else "empties it"
    return Check("rename-directory", OK if kept else BAD, text, remedy, value)


def _remedy_of_rename(number: int) -> str:
    if number == errno.EXDEV:
        return "two branches or bind mounts: maildir_safe writes where the message goes (staging='new')"
    return "mail cannot be handed over here: use another file system"


def _links(room: ProbeDirectory) -> Iterator[Check]:
    fs = room.fs
    for ident, target in (("link-within", room.a), ("link-across", room.b)):
        src, dst = room.put(room.a), room.fresh()
        number = room.errno(partial(fs.link, src, dst, src_dir_fd=room.a, dst_dir_fd=target))
        text = said(number) + (
            "; programs that link mail into place fail here, maildir_safe does not link" if number else ""
        )
        yield Check(ident, OK if not number else NOTE, text, value=named(number))


def check_exclusive(room: ProbeDirectory) -> Check:
    """Check whether a second O_EXCL create of one name fails."""
    name = room.put(room.a)
    number = room.errno(lambda: room.fs.close(room.fs.create(name, room.a)))
    good = number == errno.EEXIST
    text = "a second one fails" if good else f"a second one: {said(number)}"
    return Check("exclusive-create", OK if good else NOTE, text, value=named(number))


def check_fsync(room: ProbeDirectory) -> Iterator[Check]:
    """Check whether fsync works, and what it costs compared with not calling it."""
    numbers = {
        "fsync-file": room.errno(lambda: _write(room, sync=True)),
        "fsync-directory": room.errno(lambda: room.fs.fsync(room.b)),
    }
    for ident, number in numbers.items():
        if not number:
            yield Check(ident, OK, "works", value="ok")
        elif number in UNSUPPORTED:
            level = "file" if ident == "fsync-directory" else "none"
            yield Check(ident, NOTE, said(number), f"receipts say durability {level!r}", named(number))
        else:
            yield Check(ident, BAD, said(number), "the mount is failing: see its log", named(number))
    for ident, write in (("fsync-file-cost", _write), ("fsync-directory-cost", _rename)):
        yield _cost(ident, _timed(room, write, sync=True), _timed(room, write, sync=False))


def _cost(ident: str, synced: float, unsynced: float) -> Check:
    ratio = synced / unsynced
    text = f"{synced * 1e6:.0f} µs a file, {unsynced * 1e6:.0f} µs without ({ratio:.1f} times)"
    if ratio >= _FREE:
        return Check(ident, OK, text, value=round(ratio, 2))
    remedy = "it may do nothing: harmless on tmpfs, and loses mail in a crash elsewhere"
    return Check(ident, NOTE, text + ": suspiciously cheap", remedy, round(ratio, 2))


def _write(room: ProbeDirectory, sync: bool) -> None:
    fd = room.fs.create(room.fresh(), room.a)
    try:
        room.fs.write(fd, b"x" * 4096)
        if sync:
            room.fs.fsync(fd)
    finally:
        room.fs.close(fd)


def _rename(room: ProbeDirectory, sync: bool) -> None:
    src = room.put(room.a)
    room.fs.rename(src, src, src_dir_fd=room.a, dst_dir_fd=room.b)
    if sync:
        room.fs.fsync(room.b)


def _timed(room: ProbeDirectory, write: Callable[[ProbeDirectory, bool], None], sync: bool) -> float:
    """Return seconds per file, the median of `_SYNCS` files."""
    times = []
    for _ in range(_SYNCS):
        start = room.fs.monotonic()
        if room.errno(lambda: write(room, sync)):
            return 1.0
        times.append(room.fs.monotonic() - start)
    return max(sorted(times)[_SYNCS // 2], 1e-7)
