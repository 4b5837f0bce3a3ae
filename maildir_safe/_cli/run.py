"""`maildir-safe run`: runs an unmodified program on mounts that refuse hard links.

Mail servers start it once per message, so it parses its few options itself. Any error of the options
or of this machine ends with exit code 75: the program was not started, try again later.
"""

from __future__ import annotations

import os
import signal
import sys

from maildir_safe.errors import TemporaryError

USAGE = "usage: maildir-safe run [--durable] [--pair SRC:DST] [--check] [--trace] [--json] -- PROGRAM ARG..."
HELP = f"""\
{USAGE}

Run PROGRAM and the processes that it starts. Where a mount refuses their hard links, a handoff
from one directory to another (tmp to new in a Maildir, pid to mess in qmail's queue ...) is done by
rename instead. Links within one directory, which may be locks, and all other calls are unchanged.

  --durable        fsync the target's directory before the call that hands off returns
  --pair SRC:DST   add a handoff, such as 'drop:queue' or 'in/*:out/*'; may be repeated
  --check          change nothing; report the links of PROGRAM, and what would be done
  --trace          print a line to standard error for each changed call
  --json           print these lines, or the report, as JSON

Without --check or --trace nothing is printed. The command ends with the last process of PROGRAM's
tree, with PROGRAM's own exit status. 75: PROGRAM was not started, for the reason given. Set-user-ID
programs keep their privilege only if root runs this command. Programs, mounts, systemd units and
limits: docs/howto/shim.md
"""

_FLAGS = {"--durable", "--check", "--trace", "--json"}


class Misconfigured(TemporaryError):
    """The command was called wrongly."""

    status = "4.3.5"


def main(words: list[str]) -> int:
    """Run the program and exit with its status. Returns only for ``--help``."""
    if words[:1] in (["--help"], ["-h"]):
        print(HELP, end="")
        return 0
    flags, pairs, command = parse(words)
    from maildir_safe._shim.launch import Launcher
    from maildir_safe._shim.pairs import Pairs
    from maildir_safe._shim.report import Report

    try:
        known = Pairs(tuple(pairs))
    except ValueError as error:
        raise Misconfigured(str(error)) from error
    check = "--check" in flags
    out = sys.stderr if check or "--trace" in flags else None
    report = Report(out, json="--json" in flags, check=check)
    _leave(Launcher(known, report, durable="--durable" in flags, check=check).run(command))
    return 0


def parse(words: list[str]) -> tuple[set[str], list[str], list[str]]:
    """Parse the arguments into flags, pairs and the command.

    Raises:
        Misconfigured: an unknown option, a missing value, or no program.
    """
    flags: set[str] = set()
    pairs: list[str] = []
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "--":
            break
        if word == "--pair" and rest:
            pairs.append(rest.pop(0))
        elif word.startswith("--pair="):
            pairs.append(word.partition("=")[2])
        elif word in _FLAGS:
            flags.add(word)
        else:
            raise Misconfigured(f"{word!r} is not an option of run, or lacks its value; {USAGE}")
    if not rest:
        raise Misconfigured(f"no program to run; {USAGE}")
    if "--json" in flags and not flags & {"--check", "--trace"}:
        raise Misconfigured("--json needs --trace or --check: otherwise nothing is printed")
    return flags, pairs, rest


def _leave(status: int) -> None:
    """End as the program did: with its exit code, or by the same signal."""
    if os.WIFSIGNALED(status):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the program's own core dump is enough
        number = os.WTERMSIG(status)
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 75)
