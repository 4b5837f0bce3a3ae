"""Starts the program under the filter, passes signals on, and waits for the last process of its tree."""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import socket
import threading

from maildir_safe._shim import filter as filters, helpers
from maildir_safe._shim.answers import Answers
from maildir_safe._shim.descriptors import keep_only
from maildir_safe._shim.listener import Listener
from maildir_safe._shim.needless import Needless
from maildir_safe._shim.pairs import Pairs
from maildir_safe._shim.report import Report
from maildir_safe._shim.supervisor import Actors
from maildir_safe._shim.threads import Threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._shim.listener import Question

_PASSED_ON = (
    signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGALRM, signal.SIGWINCH, signal.SIGCONT,
)  # fmt: skip
_PYTHONS = (signal.SIGPIPE, signal.SIGXFSZ)  # which the interpreter ignores
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38
_BROKEN = 70


class Launcher:
    """Runs one program and all processes that it starts.

    Args:
        pairs: the pairs of directories that are handoffs.
        report: receives events.
        durable, check: see `Answers`.
        killable: see `filter.install`.
    """

    def __init__(
        self, pairs: Pairs, report: Report, durable: bool = False, check: bool = False, killable: bool = True
    ) -> None:
        self._pairs = pairs
        self._report = report
        self._durable = durable
        self._check = check
        self._killable = killable
        self._helpers: helpers.Helpers | None = None
        self._main = 0
        self._status: int | None = None

    def run(self, command: list[str]) -> int:
        """Run a program until the last process of its tree has ended.

        Args:
            command: the program, looked up in $PATH, and its arguments.

        Returns:
            The program's own status, as returned by `os.waitpid`.

        Raises:
            Unsupported: the shim cannot work here, or there is no such program. Nothing was run.
        """
        filters.check_kernel()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {*_PASSED_ON, signal.SIGCHLD})
        if os.geteuid() == 0:
            self._helpers = helpers.start()
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._main = os.fork()
        if not self._main:
            try:
                ours.close()
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
                self._become(command, theirs)
            finally:
                os._exit(75)
        theirs.close()
        with ours:
            listener = self._start(ours)
            ours.send(b"go")
            refused = ours.recv(4096)  # empty once the program runs
            if refused:
                raise filters.Unsupported(os.fsdecode(refused))
        if self._report.out is None:
            os.dup2(0, 2)  # until now it was needed to report why the program was not started
        threading.Thread(target=_watch, args=(listener,), daemon=True).start()
        return self._wait(listener)

    def _become(self, command: list[str], sock: socket.socket) -> None:
        """In the child: install the filter, and execute the program."""
        try:
            names = filters.CAUGHT + (filters.RENAMES if self._durable else ())
            fd, *found = filters.install(filters.program(names), self._killable)
            socket.send_fds(sock, [bytes(found)], [fd])
            os.close(fd)
            if not sock.recv(2):
                return  # the supervisor is gone
            for number in _PYTHONS:
                signal.signal(number, signal.SIG_DFL)
            os.execvp(command[0], command)
        except filters.Unsupported as error:
            sock.send(os.fsencode(str(error)))
        except OSError as error:
            sock.send(os.fsencode(f"cannot run {command[0]}: {error.strerror}"))

    def _start(self, sock: socket.socket) -> Listener:
        said, fds, _, _ = socket.recv_fds(sock, 4096, 1)
        if not fds:
            raise filters.Unsupported(os.fsdecode(said) or "the program ended before it began")
        os.set_inheritable(fds[0], False)
        self._detach({fds[0], sock.fileno()})
        listener = Listener(fds[0])
        given_up, uninterrupted = map(bool, said)
        if given_up:
            ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            self._report.note("not root: set-user-ID programs get no privilege under this (no_new_privs)")
        actors = Actors(self._helpers, given_up)
        swift = uninterrupted and not (actors.labelled or self._durable or self._check)
        needless = Needless() if swift else None
        answers = Answers(listener, actors, self._pairs, self._report, self._durable, self._check, needless)
        Threads(listener, answers.handle, self._failed).start()
        return listener

    def _failed(self, question: Question, error: Exception) -> None:
        """End after an internal error, so that the kernel answers ENOSYS instead of stopping the program."""
        self._report.note(f"unexpected {type(error).__name__} at call {question.number}: {error}")
        os._exit(_BROKEN)

    def _detach(self, keep: set[int]) -> None:
        """Release the program's descriptors and directory: its pipes must close, its mounts be free."""
        keep_only(keep | ({self._helpers.fileno()} if self._helpers else set()))
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)  # each call that hangs may hold four
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        os.chdir("/")

    def _wait(self, listener: Listener) -> int:
        while True:
            info = signal.sigwaitinfo({*_PASSED_ON, signal.SIGCHLD})
            if info.si_signo == signal.SIGCHLD:
                self._reap()
                if self._status is not None and listener.ended():
                    self._report.summary()
                    return self._status
            elif info.si_code <= 0:  # sent by kill(2); the program itself receives the terminal's signals
                self._pass_on(info.si_signo)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._main:
                self._status = status

    def _pass_on(self, number: int) -> None:
        """Send a signal to the program, or to its orphans, which are our children, once it has ended."""
        for pid in [self._main] if self._status is None else self._children():
            try:
                os.kill(pid, number)
            except OSError:
                pass

    def _children(self) -> list[int]:
        found: set[int] = set()
        for thread in os.listdir("/proc/self/task"):
            try:
                with open(f"/proc/self/task/{thread}/children") as file:
                    found.update(map(int, file.read().split()))
            except OSError:
                pass
        return sorted(found - {self._helpers.pid if self._helpers else 0})


def _watch(listener: Listener) -> None:
    """Wake the main thread when the last process under the filter is gone."""
    poll = select.poll()
    poll.register(listener.fd, 0)  # without events, poll reports only POLLHUP
    while not listener.ended():
        poll.poll()
    os.kill(os.getpid(), signal.SIGCHLD)
