"""Checks of names (characters, length, case, form) and of the results of stat."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Iterator

from maildir_safe._probe.probe_directory import ProbeDirectory, named, plain, said
from maildir_safe._probe.report import BAD, NOTE, OK, Check

_NEEDED = 143  # bytes; the shortest limit seen (securefs), which our names observe


def check_names(room: ProbeDirectory) -> Iterator[Check]:
    """Check separators, fields, length, case, bytes and normalisation of names."""
    for character, ident in ((":", "name-colon"), (";", "name-semicolon"), (",S=1", "name-size-field")):
        number = _kept(room, f"{room.fresh()}{character}2,S")
        good = OK if not number else (NOTE if character == ":" else BAD)
        remedy = "the separator becomes ';' by itself; other mail readers may not know it" if number else ""
        yield Check(ident, good, said(number), remedy if character == ":" else "", named(number))
    longest = _longest(room)
    remedy = "" if longest >= _NEEDED else "names of messages do not fit"
    yield Check("name-length", OK if longest >= _NEEDED else BAD, f"{longest} bytes", remedy, longest)
    name = room.put(room.a, "p" + room.fresh())
    folds = not room.errno(lambda: room.fs.stat(name.upper(), room.a))
    text = "not told apart; names of messages do not need it" if folds else "told apart"
    yield Check("name-case", NOTE if folds else OK, text, value=not folds)
    number = _kept(room, os.fsdecode(b"p\xff\xfe" + room.fresh().encode()))
    yield Check("name-not-utf8", OK if not number else NOTE, said(number), value=named(number))
    composed = room.fresh() + "é"
    number = _kept(room, composed)
    changed = bool(number) and room.has(room.a, unicodedata.normalize("NFD", composed))
    text = "changed to another form" if changed else said(number)
    yield Check("name-unicode", NOTE if number else OK, text, value="changed" if changed else named(number))


def _kept(room: ProbeDirectory, name: str) -> int:
    """Return 0 if a file with this name can be made and listed, else the errno (ENOENT: not listed)."""
    number = room.errno(lambda: room.put(room.a, name))
    if number == errno.EIO:
        room.recover()
    kept = not number and room.has(room.a, name)
    if not number and not kept:
        # by the name with which it was made: on Coda a name of 255 bytes is listed with 254, and cannot
        # be removed by that
        room.errno(lambda: room.fs.unlink(name, dir_fd=room.a))
    return number or (0 if kept else errno.ENOENT)


def _longest(room: ProbeDirectory) -> int:
    low, high = 1, 256
    while high - low > 1:
        middle = (low + high) // 2
        if _kept(room, room.fresh().ljust(middle, "x")[:middle]) == 0:
            low = middle
        else:
            high = middle
    return low


def check_stat(room: ProbeDirectory) -> Iterator[Check]:
    """Check time, identity, mode, and the effect of unlink on an open file."""
    fs = room.fs
    name = room.put(room.a)
    yield _mtime(room)
    before = fs.time_ns() / 1e9
    name = room.put(room.a)
    skew = fs.stat(name, room.a).st_mtime - (before + fs.time_ns() / 1e9) / 2
    result = OK if abs(skew) < 5 else NOTE
    remedy = "the janitor uses the server's clock; set yours by NTP all the same" if result == NOTE else ""
    yield Check("server-clock", result, f"{skew:+.1f} s from ours", remedy, round(skew, 1))
    inode, moved = fs.stat(name, room.a).st_ino, room.fresh()
    fs.rename(name, moved, src_dir_fd=room.a, dst_dir_fd=room.b)
    fs.sleep(1.1)  # until FUSE's cache of the name has expired: rclone then returns another number
    stable = fs.stat(moved, room.b).st_ino == inode
    text = "kept by rename" if stable else "changed by rename; not used as an identity"
    yield Check("inode", OK if stable else NOTE, text, value=stable)
    mode = fs.stat(moved, room.b).st_mode & 0o777
    text = f"0600 becomes {mode:04o}"
    remedy = (
        "" if mode == 0o600 else "others may read mail here: restrict the mount itself (umask=, file_mode=)"
    )
    yield Check("mode", OK if mode == 0o600 else NOTE, text, remedy, f"{mode:04o}")
    yield _unlink_while_open(room)


def _mtime(room: ProbeDirectory) -> Check:
    steps = set()
    for _ in range(8):
        steps.add(room.fs.stat(room.put(room.a), room.a).st_mtime_ns)
        room.fs.sleep(0.01)  # the kernel's own clock moves every 4 ms: one time alone may be round by chance
    step = next(size for size in (10**9, 10**7, 10**6, 10**3, 100, 1) if all(not ns % size for ns in steps))
    words = {10**9: "1 s", 10**7: "10 ms", 10**6: "1 ms", 10**3: "1 µs", 100: "100 ns", 1: "1 ns"}[step]
    return Check("mtime-precision", OK, words, value=step)


def _unlink_while_open(room: ProbeDirectory) -> Check:
    fs = room.fs
    name = room.put(room.a)
    before = set(fs.listdir(room.a))
    fd = fs.open(name, room.a)
    number = room.errno(lambda: fs.unlink(name, dir_fd=room.a))
    left = sorted(set(fs.listdir(room.a)) - (before - {name}))
    readable = not room.errno(lambda: fs.read(fd, 1))
    room.errno(lambda: fs.close(fd))
    if number:
        return Check("unlink-open", NOTE, said(number), "readers must close a message first", named(number))
    text = f"still readable: {plain(readable)}; listed meanwhile: {', '.join(left) or 'nothing'}"
    return Check("unlink-open", OK if readable and not left else NOTE, text, value="listed" if left else "ok")
