"""The emulated machine: boot it, run a command in it, and give its exit status."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.mounts.guest.image import Image
from benchmarks.mounts.stage import MountError

_PROJECT = Path(__file__).resolve().parents[3]


def run_in_guest(image: Image, command: list[str], seconds: float = 900.0, memory: int = 2048) -> int:
    """Run a command as root in an emulated machine, in the project's directory.

    Args:
        image: what the machine boots; it is not changed.
        command: program and arguments. Its output is this process's.
        seconds: after these, from the boot on, the machine is switched off.
        memory: MiB.

    Returns:
        The command's exit status.

    Raises:
        MountError: the machine stopped without one, or time ran out.
    """
    with tempfile.TemporaryDirectory(prefix="guest.") as folder:
        job = Path(folder) / "job"
        shared = Path(folder) / "shared"
        job.mkdir()
        shared.mkdir()
        console = Path(folder) / "console"
        (job / "command").write_text(f"exec {shlex.join(command)}\n")
        machine = _qemu(image, job, shared, console, memory)
        # stdin stays open: at its end, QEMU would stop taking what the guest writes
        qemu = subprocess.Popen(
            machine, stdin=subprocess.PIPE, stdout=sys.stdout, env={**os.environ, "TMPDIR": folder}
        )
        try:
            qemu.wait(seconds)
            return int((job / "status").read_text())
        except subprocess.TimeoutExpired:
            raise MountError(f"the guest was not done after {seconds:.0f} s") from None
        except (OSError, ValueError):
            said = console.read_text(errors="replace") if console.exists() else "nothing"
            raise MountError(f"the guest stopped without a status; its console: {said[-3000:]}") from None
        finally:
            qemu.kill()
            qemu.communicate()


def _qemu(image: Image, job: Path, shared: Path, console: Path, memory: int) -> list[str]:
    line = f"console=ttyS0 quiet panic=-1 mitigations=off nokaslr project={_PROJECT}"
    command = [
        "setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64",
        "-no-reboot", "-nodefaults", "-display", "none",
        "-accel", "tcg,thread=multi,tb-size=512",  # not KVM: nested, it is there and fails
        "-cpu", "max", "-smp", str(min(4, os.cpu_count() or 1)), "-m", str(memory),
        "-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", line,
        "-drive", f"file={image.disk},if=virtio,format=raw,snapshot=on",  # writes go to a file of its own
        "-serial", f"file:{console}",
        "-chardev", "stdio,id=out,signal=off",
        "-device", "virtio-serial", "-device", "virtserialport,chardev=out,nr=1",
    ]  # fmt: skip
    shares = [("project", _PROJECT, ",readonly=on"), ("job", job, "")]
    shares += [("sharedA", shared, ""), ("sharedB", shared, "")]  # two clients for the kind 9p
    for tag, path, mode in shares:
        command += ["-virtfs", f"local,path={path},mount_tag={tag},security_model=none,multidevs=remap{mode}"]
    return command
