"""The command line: bring real mounts up and down, and say or install what they need."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from benchmarks.mounts import (
    DEFAULT_BASE,
    IN_GUEST,
    KINDS,
    Mount,
    MountError,
    in_guest,
    install,
    mounted,
    packages,
    running,
    scratch,
    up,
)
from benchmarks.mounts.guest import build, run_in_guest

_ALSO_IN_GUEST = (*IN_GUEST, "ext4", "xfs", "btrfs", "tmpfs")


def _up(args: argparse.Namespace) -> None:
    for name in args.kinds:
        print(*up(name, args.base, args.size).paths, sep="\n")


def _down(args: argparse.Namespace) -> None:
    for name in args.kinds:
        _running(args.base, name).down()


def _list(args: argparse.Namespace) -> None:
    now = running(args.base)
    for name, kind in KINDS.items():
        state = " ".join(map(str, now[name].paths)) or "failed" if name in now else "-"
        print(f"{name:18} {kind.about:52} {state}")


def _stop(args: argparse.Namespace) -> None:
    _running(args.base, args.kind).stop(args.server)


def _start(args: argparse.Namespace) -> None:
    _running(args.base, args.kind).start(args.server)


def _packages(args: argparse.Namespace) -> None:
    print(*packages(KINDS[name] for name in args.kinds))


def _install(args: argparse.Namespace) -> None:
    install(KINDS[name] for name in args.kinds)


def _run(args: argparse.Namespace) -> int:
    with contextlib.ExitStack() as stack:
        base = stack.enter_context(scratch())
        for name in args.fs:
            if in_guest():
                up(name, base)  # the machine is thrown away
            else:
                stack.enter_context(mounted(name, base))
        return subprocess.run(args.command, env={**os.environ, "MOUNTS_BASE": str(base)}).returncode


def _guest(args: argparse.Namespace) -> int:
    inside = [kind for kind in KINDS.values() if kind.guest or kind.name in _ALSO_IN_GUEST]
    image = build(package for kind in inside for package in kind.packages)
    command = ["python3", "-m", "benchmarks.mounts", "run", "--fs", ",".join(args.fs), "--", *args.command]
    return run_in_guest(image, command, args.timeout)


def _kinds(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {' '.join(unknown)}; known: {' '.join(KINDS)}")
    return names


def _running(base: Path, name: str) -> Mount:
    now = running(base)
    if name not in now:
        raise MountError(f"{name} is not up in {base}")
    return now[name]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mounts", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, run: object, about: str, **argument: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=about, description=about)
        sub.set_defaults(run=run)
        sub.add_argument("--base", type=Path, default=DEFAULT_BASE, help="where mounts live (%(default)s)")
        if argument:
            sub.add_argument("kinds", metavar="KIND", choices=KINDS, **argument)  # type: ignore[arg-type]
        return sub

    verb("list", _list, "every kind, and where it is mounted")
    verb("up", _up, "bring mounts up and print their paths", nargs="+").add_argument(
        "--size", type=int, default=512, help="MiB of disk images (%(default)s)"
    )
    verb("down", _down, "take mounts down, also after a start that failed", nargs="+")
    verb("packages", _packages, "print the Debian packages that they need", nargs="+")
    verb("install", _install, "install these packages with apt-get", nargs="+")
    for name, run, about in (
        ("stop", _stop, "end a server, as a crash would"),
        ("start", _start, "start a stopped server again"),
    ):
        sub = verb(name, run, about)
        sub.add_argument("kind", metavar="KIND", choices=KINDS)
        sub.add_argument("server", help="its host, such as s2")
    for name, job, about in (
        ("run", _run, "run a command with mounts at $MOUNTS_BASE/KIND/A (and B), then take them down"),
        ("guest", _guest, "the same in an emulated Debian machine, for what this kernel lacks"),
    ):
        sub = verbs.add_parser(name, help=about, description=about)
        sub.set_defaults(run=job)
        sub.add_argument("--fs", type=_kinds, required=True, metavar="KIND,KIND", help="the mounts")
        sub.add_argument("command", nargs="+", metavar="-- COMMAND", help="program and arguments")
    sub.add_argument("--timeout", type=float, default=900, help="seconds for all of it (%(default)s)")
    return parser


def main() -> int:
    """Run one verb; the exit status."""
    args = _parser().parse_args()
    for end in (signal.SIGTERM, signal.SIGHUP):  # as ^C does: what is up is taken down
        signal.signal(end, lambda number, _: sys.exit(128 + number))
    try:
        return args.run(args) or 0
    except MountError as error:
        print(f"mounts: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
