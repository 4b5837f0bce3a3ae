"""Answers caught calls.

Most calls are left to the kernel, which runs them as if they had not been caught. So are all calls whose
caller cannot be fully determined.
"""

from __future__ import annotations

import errno
import os
import threading

from maildir_safe._shim import caller as callers
from maildir_safe._shim.calls import LINK, RENAME, RENAME_NOREPLACE, SANDBOX, UNLINK, Call, decode
from maildir_safe._shim.decisions import PASS_ON, Decisions
from maildir_safe._shim.ghosts import Ghosts, Owner
from maildir_safe._shim.turns import Turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._shim.actor import Actor, Place
    from maildir_safe._shim.caller import Caller
    from maildir_safe._shim.helpers import Helper
    from maildir_safe._shim.listener import Listener, Question
    from maildir_safe._shim.needless import Needless
    from maildir_safe._shim.pairs import Pairs
    from maildir_safe._shim.report import Report
    from maildir_safe._shim.supervisor import Actors

    Process = tuple[int, int]


_EACH_ITS_OWN = ("/proc/", "/dev/fd/")
"""Where a path may mean something else in the process that would act: /proc/self is another there."""


def alive(process: Process) -> bool:
    """Whether a process still exists, and its number has not been reused."""
    try:
        return callers.process(process[0]) == process
    except OSError:
        return False


class Answers:
    """Answers caught calls. Used by many threads at once.

    Args:
        listener: the source of calls.
        actors: chooses the actor for a caller.
        pairs: the pairs of directories that are handoffs.
        report: receives events.
        durable: fsync the target's directory before a handoff is reported done.
        check: change nothing, and report what would be changed.
        needless: the mounts whose links need no help; None if there can be none.
    """

    def __init__(
        self, listener: Listener, actors: Actors, pairs: Pairs, report: Report,
        durable: bool = False, check: bool = False, needless: Needless | None = None,
    ) -> None:  # fmt: skip
        self._listener = listener
        self._actors = actors
        self._report = report
        self._ghosts = Ghosts(alive)
        self._decisions = Decisions(pairs, self._ghosts, report, durable, check)
        self._check = check
        self._needless = needless
        self._me = os.getpid()
        self._sandboxed = False
        self._sandboxed_users: frozenset[int] = frozenset()
        self._lock = threading.Lock()
        self._user = os.geteuid()
        self._turns = Turns(self._user)

    def handle(self, question: Question) -> None:
        """Answer one question."""
        call = decode(question.arch, question.number, question.args)
        if call is None or self._sandboxed or self._is_plain(call):
            self._listener.pass_on(question)
        elif call.kind == SANDBOX:
            self._sandbox(question)
        else:
            user, group = callers.user(question.tid)
            turn = self._turns.enter(question.tid, user)
            try:
                if turn is None:
                    self._listener.pass_on(question)
                else:
                    with turn:
                        self._look(question, call, user, group)
            finally:
                self._turns.leave(question.tid, user)

    def _is_plain(self, call: Call) -> bool:
        """Whether the flags alone show that a call is to be left to the kernel."""
        if call.kind == UNLINK:
            return bool(call.flags) or not len(self._ghosts)
        if call.kind == RENAME:
            return bool(call.flags & ~RENAME_NOREPLACE)
        return call.kind == LINK and bool(call.flags)

    def _sandbox(self, question: Question) -> None:
        """Stop acting for callers who may be in a sandbox that cannot be seen later.

        Not if the process already gave up privileges that the program's tree has: it is left alone anyway.
        A process without rights stays the same user's for ever, so only his calls are concerned: no user
        must be able to end the shim for others, by a call that may not even succeed.
        """
        try:
            caller = callers.Caller(question.tid)
            hidden = self._actors.hides_rights(caller)
            users = None if callers.has_rights(caller) else frozenset(caller.credentials.uids)
        except (OSError, ValueError):
            hidden, users = False, None
        if not hidden and self._listener.valid(question):
            self._leave_alone(users)
        self._listener.pass_on(question)

    def _leave_alone(self, users: frozenset[int] | None) -> None:
        """Leave all calls of some users to the kernel; of all users if None."""
        if users is None:
            self._sandboxed = True
            whose = "every call"
        else:
            with self._lock:
                self._sandboxed_users |= users
            whose = f"every call of user {min(users)}"
        self._report.note(f"a program uses Landlock: from now on {whose} is left to the kernel")

    def _look(self, question: Question, call: Call, user: int, group: int) -> None:
        paths = self._paths(question, call)
        if paths is None or self._cannot_matter(call, paths):
            self._listener.pass_on(question)
            return
        mount = None
        if self._needless is not None and call.kind == LINK:
            mount = self._mount(self._needless, question.tid, (user, group), call, paths)
            if mount is not None and self._needless.known(mount):
                self._listener.pass_on(question)
                return
        bases: list[int] = []
        try:
            caller = callers.Caller(question.tid, self._actors.labels)
            wanted: list[tuple[int | None, str]] = []
            for (dir_fd, _), path in zip(call.paths, paths, strict=True):
                if not path.startswith("/"):
                    bases.append(callers.base(question.tid, dir_fd))
                wanted.append((None if path.startswith("/") else bases[-1], path))
            with self._actors.acting_for(caller) as actor:
                # if the caller still waits, all data read so far is really the caller's
                users = caller.credentials.uids
                if (
                    actor is None
                    or not self._sandboxed_users.isdisjoint(users)
                    or not self._listener.valid(question)
                ):
                    self._listener.pass_on(question)
                else:
                    self._open_and_act(question, call, actor, wanted, caller, mount)
        except (OSError, ValueError):
            self._listener.pass_on(question)
        finally:
            for fd in bases:
                os.close(fd)

    def _cannot_matter(self, call: Call, paths: list[str]) -> bool:
        """Whether the paths alone show that a call is to be left to the kernel."""
        if call.kind == UNLINK and not self._ghosts.may_know(paths[0].rpartition("/")[2]):
            return True
        if call.kind == LINK and not self._check and self._is_in_one_directory(call, paths):
            return True
        return any(path.startswith(_EACH_ITS_OWN) for path in paths)

    def _is_in_one_directory(self, call: Call, paths: list[str]) -> bool:
        """Whether both names are in the same directory, as in a lock: so the kernel is to answer."""
        src, dst = ((fd, path.rpartition("/")[0]) for (fd, _), path in zip(call.paths, paths, strict=True))
        return src == dst and paths[0].startswith("/") == paths[1].startswith("/")

    def _mount(
        self, needless: Needless, tid: int, ids: tuple[int, int], call: Call, paths: list[str]
    ) -> int | None:
        """The mount in which a link is made, which may be one where it needs no help."""
        if self._ghosts.may_know(paths[0].rpartition("/")[2]):  # it may have been renamed away
            return None
        if ids[0] == self._user:
            return needless.mount(tid, call, paths)
        try:
            with self._actors.seeing_as(*ids) as seen:
                return needless.mount(tid, call, paths) if seen else None
        except OSError:
            return None

    def _open_and_act(
        self, question: Question, call: Call, actor: Actor | Helper, wanted: list[tuple[int | None, str]],
        caller: Caller, mount: int | None,
    ) -> None:  # fmt: skip
        try:
            places = actor.open(wanted)
        except FileNotFoundError:
            # the kernel must not repeat the call: another process may make the directory meanwhile, and the
            # mount's refusal would not tell the program to try again
            self._listener.answer(question, errno.ENOENT)
            return
        self._act(question, call, actor, places, caller, mount)

    def _paths(self, question: Question, call: Call) -> list[str] | None:
        try:
            with callers.Memory(question.tid) as memory:
                return [memory.path(address) for _, address in call.paths]
        except (OSError, ValueError):
            return None

    def _owner(self, caller: Caller) -> Owner:
        above = None if caller.parent in (self._me, 0, 1) else callers.process(caller.parent)
        return Owner(callers.process(caller.tgid), above, caller.credentials.uids[3])

    def _act(
        self, question: Question, call: Call, actor: Actor | Helper, places: list[Place],
        caller: Caller, mount: int | None,
    ) -> None:  # fmt: skip
        """Carry out a call. An error here may come after a change, so the kernel must not repeat the call."""
        taken = None

        def who() -> Owner:
            return self._owner(caller)

        def linked() -> None:
            if mount is not None and self._needless is not None:
                self._needless.learn(mount)

        try:
            if call.kind == UNLINK:
                answer, taken = self._decisions.unlink(actor, places[0], who, caller)
            elif call.kind == LINK:
                answer = self._decisions.link(actor, places[0], places[1], who, caller, linked)
            else:
                noreplace = bool(call.flags & RENAME_NOREPLACE)
                answer = self._decisions.rename(actor, places[0], places[1], noreplace, who, caller)
        except (OSError, ValueError):
            answer = errno.EIO
        finally:
            actor.close(places)
        told = (
            self._listener.pass_on(question) if answer is PASS_ON else self._listener.answer(question, answer)
        )
        if taken is not None:  # if a signal interrupted the call, the program will repeat it
            self._ghosts.settle(taken, used=told and answer in (0, errno.ENOENT))
