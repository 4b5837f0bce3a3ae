"""vfat shows a file by its short alias in some listings that are made while names are added.

Not part of a test run: it takes two minutes of an emulated machine to see it once or twice.

    python -m benchmarks.mounts guest --fs vfat -- python3 -m pytest -s tests/system/guest_alias.py
"""

from __future__ import annotations

import os
import threading
import time

import pytest
from mounts import on_mounts

from benchmarks.mounts import Mount
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._handoff.listing import stable_listing

SECONDS = 120
GIVEN = ".M{:06d}P146Q22Re7fe0795eac141f2.guest,S=416"


@pytest.mark.timeout(SECONDS + 180)
@on_mounts("vfat")
def test_no_settled_listing_shows_an_alias(mount: Mount) -> None:
    folder = mount.folder()
    over = threading.Event()
    writer = threading.Thread(target=make_and_remove, args=(str(folder), over))
    writer.start()
    fs = OsFileSystem()
    fd = fs.open_dir(str(folder))
    odd: list[str] = []
    listings, end = 0, time.monotonic() + SECONDS
    try:
        while time.monotonic() < end:
            listings += 1
            names = fs.listdir(fd)
            odd += [name for name in names if not name.endswith(",S=416")]
            assert [name for name in stable_listing(fs, fd, names) if not name.endswith(",S=416")] == []
    finally:
        over.set()
        writer.join()
        fs.close(fd)
    print(f"{len(odd)} of {listings} listings showed an alias, such as {odd[:1]}")


def make_and_remove(folder: str, over: threading.Event) -> None:
    number = 0
    while not over.is_set():
        names = [f"{1795859131 + n % 9}{GIVEN.format(n)}" for n in range(number, number + 150)]
        number += len(names)
        for name in names:
            os.close(os.open(f"{folder}/{name}", os.O_CREAT | os.O_WRONLY))
        for name in names:
            os.unlink(f"{folder}/{name}")
