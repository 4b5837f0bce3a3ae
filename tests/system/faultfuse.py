"""The driver of faultfuse.c: a mount that misbehaves below what kernel, C library and Python repeat.

    with FaultFuse(backing, mountpoint, seed=1) as mount:
        mount.once("create", "ESTALE", "late", 3.0, "/tmp/")
        mount.level(0.01)

Needs root or fusermount3, gcc, pkg-config and Debian's libfuse3-dev.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def lacks() -> str:
    """What is missing to build and mount it, in words; "" if nothing."""
    for tool in ("gcc", "pkg-config", "fusermount3"):
        if shutil.which(tool) is None:
            return f"there is no {tool}"
    if subprocess.run(["pkg-config", "--exists", "fuse3"], check=False).returncode:
        return "there is no libfuse3-dev"
    return "" if Path("/dev/fuse").exists() else "there is no /dev/fuse"


def build(folder: Path) -> Path:
    """The program, built in `folder`."""
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "fuse3"], capture_output=True, text=True, check=True
    ).stdout.split()
    program = folder / "faultfuse"
    warnings = ["-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Werror"]
    source = HERE / "faultfuse.c"
    subprocess.run(["gcc", "-O2", *warnings, "-o", program, source, *flags, "-lpthread"], check=True)
    return program


class FaultFuse:
    """The mount; nothing goes wrong before it is told to.

    Args:
        backing: what is really there.
        path: where to mount it.
        seed: of what goes wrong by chance.
    """

    def __init__(self, backing: Path, path: Path, seed: int = 1) -> None:
        self.backing = backing
        self.path = path
        self._built = tempfile.TemporaryDirectory(prefix="faultfuse.")
        backing.mkdir(exist_ok=True)
        path.mkdir(exist_ok=True)
        program = build(Path(self._built.name))
        self._process = subprocess.Popen(
            [program, backing, path, str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._read() == "ready", "no mount came up"

    def level(self, probability: float) -> None:
        """Each call goes wrong with this probability from now on."""
        self._ask(f"level {probability}")

    def only(self, *operations: str) -> None:
        """Only these calls go wrong by chance; ``"all"``: all of them."""
        self._ask(f"only {','.join(operations)}")

    def once(self, operation: str, error: str, how: str = "none", delay: float = 0.0, part: str = "") -> None:
        """The next such call on a path with `part` in it; see faultfuse.c."""
        self._ask(f"once {operation} {error} {how} {delay} {part}")

    def wait(self) -> None:
        """Return when all late calls have been executed."""
        self._ask("wait")

    def counts(self) -> dict[str, int]:
        """How often each fault has struck, ``"create/ESTALE/late"`` for instance."""
        pairs = (pair.rpartition("=") for pair in self._ask("counts", "").split())
        return {name: int(count) for name, _, count in pairs}

    def _ask(self, command: str, expected: str = "ok") -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        answer = self._read()
        assert not expected or answer == expected, f"{command}: {answer}"
        return answer

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def close(self) -> None:
        """Unmount."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            subprocess.run(["fusermount3", "-u", "-z", self.path], check=False)
            self._process.kill()
            self._process.wait()
        self._built.cleanup()

    def __enter__(self) -> FaultFuse:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
