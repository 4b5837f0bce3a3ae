"""Unmodified programs that hand mail over by link() and unlink(), and how each is told to deliver.

Each gets messages `in/1` ... of a directory and delivers them into the Maildir `box` beside it.
"""

from __future__ import annotations

import os
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NOBODY = 65534


@dataclass(frozen=True)
class Program:
    """A program and the script that delivers.

    Attributes:
        name: of the program, as in the table.
        script: makes the shell script that delivers all messages, from the Maildir's path, a directory
            for its files with the messages in ``in/``, and the port of a POP3 server that has them.
        command: what must be installed.
        root: it runs as root; else as nobody.
        links: what it does, in the words of docs/howto/shim.md.
        once: it is started once for all messages.
    """

    name: str
    script: Callable[[Path, Path, int], str]
    command: str
    links: str
    root: bool = False
    once: bool = False


def _each(command: str) -> str:
    """A loop over the messages; its exit code is that of the last that failed."""
    return f'r=0; for m in in/*; do {command} < "$m" || r=$?; done; exit $r'


def _maildrop(box: Path, files: Path, port: int) -> str:  # noqa: ARG001
    rc = files / "maildroprc"
    rc.write_text(f'to "{box}/"\n')
    rc.chmod(0o600)
    return _each(f"maildrop {rc}")


def _procmail(box: Path, files: Path, port: int) -> str:  # noqa: ARG001
    return _each(f"procmail -m DEFAULT={box}/ ORGMAIL={files}/mbox LOGFILE=/dev/null /dev/null")


def _safecat(box: Path, files: Path, port: int) -> str:  # noqa: ARG001
    return _each(f"safecat {box}/tmp {box}/new >/dev/null")


def _fdm(box: Path, files: Path, port: int) -> str:  # noqa: ARG001
    config = files / "fdm.conf"
    config.write_text(
        f'set lock-file "{files}/fdm.lock"\naccount "stdin" stdin\n'
        f'action "box" maildir "{box}"\nmatch all action "box"\n'
    )
    return _each(f"fdm -q -f {config} fetch")


def _mpop(box: Path, files: Path, port: int) -> str:
    config = files / "mpoprc"
    config.write_text(
        f"account a\nhost 127.0.0.1\nport {port}\nuser u\npassword p\nauth user\ntls off\nkeep on\n"
        f"uidls_file {files}/uidls\nreceived_header off\ndelivery maildir {box}\naccount default : a\n"
    )
    config.chmod(0o600)
    return f"mpop -q -C {config}"


def _getmail(box: Path, files: Path, port: int) -> str:  # noqa: ARG001
    return _each(f"getmail_maildir {box}/")


def _snail(box: Path, files: Path, port: int) -> str:  # noqa: ARG001
    quiet = ">/dev/null 2>&1"
    return (
        "for m in in/*; do echo 'From a@example.org Mon Nov 30 00:00:00 2026'; cat $m; echo; done > mbox;"
        f" printf 'copy * maildir://{box}\\nexit\\n' | s-nail -n -R -# -S headline -f {files}/mbox {quiet}"
    )


def _mutt(command: str) -> Callable[[Path, Path, int], str]:
    def script(box: Path, files: Path, port: int) -> str:  # noqa: ARG001
        config = files / "muttrc"
        config.write_text(
            f'set mbox_type=Maildir\nset record="{box}"\nset copy=yes\nset sendmail=/bin/true\n'
            f'set from=a@example.org\nset header_cache=""\nset tmpdir="{files}"\nset hidden_host\n'
        )
        body = "sed '1,/^$/d' \"$m\" | "
        subject = "$(sed -n 's/^Subject: //p' \"$m\")"
        run = f'{body}{command} -n -F {config} -s "{subject}" b@example.org'
        return f"r=0; for m in in/*; do {run} >/dev/null 2>&1 || r=$?; done; exit $r"

    return script


def _stdlib(box: Path, files: Path, port: int) -> str:  # noqa: ARG001
    program = files / "add.py"
    program.write_text("import mailbox, sys\nmailbox.Maildir(sys.argv[1]).add(sys.stdin.buffer)\n")
    return _each(f"/usr/bin/python3 {program} {box} 2>/dev/null")


PROGRAMS = [
    Program("maildrop", _maildrop, "maildrop", "tmp→new", root=True),
    Program("procmail", _procmail, "procmail", "tmp→new", root=True),
    Program("safecat", _safecat, "safecat", "tmp→new", root=True),
    Program("fdm", _fdm, "fdm", "tmp→new"),
    Program("mpop", _mpop, "mpop", "tmp→new", once=True),
    Program("getmail6", _getmail, "getmail_maildir", "tmp→new"),
    Program("s-nail", _snail, "s-nail", "tmp→new", once=True),
    Program("neomutt", _mutt("neomutt"), "neomutt", "tmp→new or cur"),
    Program("mutt", _mutt("mutt"), "mutt", "tmp→new or cur"),
    Program("Python mailbox", _stdlib, "/usr/bin/python3", "tmp→new"),
]


class _Pop3(socketserver.StreamRequestHandler):
    messages: list[bytes] = []

    def handle(self) -> None:
        self.wfile.write(b"+OK ready\r\n")
        for line in self.rfile:
            word, _, rest = line.decode().strip().partition(" ")
            self.wfile.write(self.reply(word.upper(), rest))
            if word.upper() == "QUIT":
                return

    def reply(self, word: str, rest: str) -> bytes:
        if word == "STAT":
            return b"+OK %d %d\r\n" % (len(self.messages), sum(map(len, self.messages)))
        if word in ("LIST", "UIDL"):
            rows = [
                b"%d %d" % (n, len(text)) if word == "LIST" else b"%d uid%d" % (n, n)
                for n, text in enumerate(self.messages, 1)
            ]
            return b"+OK\r\n" + b"".join(row + b"\r\n" for row in rows) + b".\r\n"
        if word == "RETR":
            text = self.messages[int(rest) - 1].replace(b"\n", b"\r\n")
            return b"+OK\r\n" + text + b".\r\n"
        if word == "CAPA":
            return b"+OK\r\nUSER\r\nUIDL\r\n.\r\n"
        return b"+OK\r\n"


@contextmanager
def pop3(messages: list[bytes]) -> Iterator[int]:
    """A POP3 server that has these messages; its port."""
    handler = type("Handler", (_Pop3,), {"messages": messages})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


def command(program: Program, script: Path) -> list[str]:
    """The command that runs the script as the user that the program wants."""
    if program.root or os.geteuid():
        return ["sh", str(script)]
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--", "sh", str(script)]


__all__ = ["NOBODY", "PROGRAMS", "Program", "command", "pop3"]
