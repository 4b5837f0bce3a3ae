"""A Debian machine that QEMU emulates: for the file systems that this kernel lacks.

    python -m benchmarks.mounts guest --fs nfs42,afs -- python3 -m pytest tests/system

The command runs as root in the project's directory, at the same path as here; what it writes there is
dropped. Inside, the mounts are brought up by this same package: the guest is nothing but a machine whose
kernel has more file systems. No KVM is needed; the guest's own Python runs the command.
"""

from __future__ import annotations

from benchmarks.mounts.guest.image import TOOLS, build
from benchmarks.mounts.guest.machine import run_in_guest

__all__ = ["TOOLS", "build", "run_in_guest"]
