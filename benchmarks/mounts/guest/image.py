"""The guest's disk: Debian's packages with their kernel, made once and kept in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from benchmarks.mounts.stage import MountError

TOOLS = ("qemu-system-x86", "mmdebstrap", "debian-archive-keyring", "cpio", "kmod", "e2fsprogs")
_BASE = (
    "linux-image-amd64", "busybox-static", "kmod", "mount", "iproute2", "procps", "strace",
    "python3", "python3-pytest", "python3-pytest-timeout",
)  # fmt: skip
_EARLY = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic", "9p", "9pnet_virtio")
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/lib/modules/*/kernel/drivers/*")
_BUT_NOT = tuple(
    f"/lib/modules/*/kernel/drivers/{part}" for part in ("virtio/*", "block/*", "char/*", "net/veth.ko")
)
_INIT = """\
#!/bin/busybox sh
# The first process: load what it takes to reach the disk and the project, and go there.
PATH=/bin
/bin/busybox --install -s /bin
mkdir -p /dev /proc /root
mount -t devtmpfs dev /dev; mount -t proc proc /proc
for module in $(cat /modules); do insmod "$module"; done
for word in $(cat /proc/cmdline); do case $word in project=*) project=${word#project=};; esac; done
mount -t ext4 /dev/vda /root
mkdir -p "/root$project" /root/job
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro project "/root$project"
mount -t 9p -o trans=virtio,version=9p2000.L job /root/job
umount /proc /dev
exec switch_root /root /bin/bash "$project/benchmarks/mounts/guest/init.sh" "$project"
"""


class Image:
    """Files of a guest: `kernel`, `initrd` and `disk`."""

    def __init__(self, place: Path) -> None:
        self.kernel = place / "vmlinuz"
        self.initrd = place / "initrd"
        self.disk = place / "disk.img"


def build(packages: Iterable[str]) -> Image:
    """The guest's image with some Debian packages: from the cache, or made in about two minutes.

    Raises:
        MountError: a tool is missing, or a step failed.
    """
    wanted = sorted({*_BASE, *packages})
    recipe = repr((wanted, _EARLY, _LEFT_OUT, _BUT_NOT, _INIT))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maildir-safe"
    place = cache / f"guest-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if not place.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix="guest-", dir=cache))
        try:
            _make(making, wanted)
            making.rename(place)  # whole or not at all
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return Image(place)


def _make(place: Path, packages: list[str]) -> None:
    root = place / "root"
    options = [f"--dpkgopt=path-exclude={path}" for path in _LEFT_OUT]
    options += [f"--dpkgopt=path-include={path}" for path in _BUT_NOT]
    options += ["--aptopt=APT::Install-Recommends false", f"--include={','.join(packages)}"]
    # INITRD=No: Debian's own first RAM disk finds its hardware by udev, which takes long when emulated
    _run("mmdebstrap", "--quiet", "--variant=apt", "--mode=root", *options, "bookworm", root, INITRD="No")
    next((root / "boot").glob("vmlinuz-*")).rename(place / "vmlinuz")
    _initrd(place, root)
    _run("mke2fs", "-q", "-t", "ext4", "-d", root, place / "disk.img", "4G")
    shutil.rmtree(root)


def _initrd(place: Path, root: Path) -> None:
    early = place / "early"
    (early / "bin").mkdir(parents=True)
    shutil.copy(root / "bin/busybox", early / "bin/busybox")
    version = next((root / "lib/modules").iterdir()).name
    modules: list[str] = []
    for name in _EARLY:
        needed = _run("modprobe", "--dirname", root, "--set-version", version, "--show-depends", name)
        for line in needed.splitlines():
            if line.startswith("insmod "):
                path = Path(line.split()[1])
                shutil.copy(path, early)
                modules.append(f"/{path.name}")
    (early / "modules").write_text("\n".join(dict.fromkeys(modules)))
    (early / "init").write_text(_INIT)
    (early / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(early)) for path in early.rglob("*"))
    with (place / "initrd").open("wb") as out:
        subprocess.run(
            ["cpio", "--create", "--quiet", "--format=newc"],
            input=names.encode(),
            stdout=out,
            cwd=early,
            check=True,
        )
    shutil.rmtree(early)


def _run(*command: str | Path, **env: str) -> str:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "PATH": path, **env}
        )
    except FileNotFoundError:
        raise MountError(f"{command[0]} is missing: the guest needs {' '.join(TOOLS)}") from None
    if done.returncode:
        raise MountError(f"{command[0]}: status {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout
