"""Processes that have a caller's credentials, and act for that caller alone.

The first process (`start`) is forked before there are threads. It keeps the supervisor's privileges, and
forks one helper per set of credentials that is requested. A helper gives up everything else: user, groups,
capabilities, and the root directory if the caller has another. It holds no descriptor of the supervisor. A
user may kill the helpers that have his own id; then only his own calls fail.
"""

from __future__ import annotations

import array
import ctypes
import json
import os
import signal
import socket
from threading import Condition
from typing import Any

from maildir_safe._fs import libc
from maildir_safe._shim.actor import Actor, Place
from maildir_safe._shim.caller import Credentials
from maildir_safe._shim.descriptors import keep_only
from maildir_safe._shim.handoff import Result

assert libc  # imported now, since a process that has become another user may not be able to import it

_PR_SET_DUMPABLE, _PR_SET_KEEPCAPS = 4, 8
_CAP_FOWNER = 3
_LARGEST = 1 << 16  # two paths of PATH_MAX, written as JSON
_MOST_AT_ONCE = 16
"""Most helpers per set of credentials at the same time; further calls wait for one of them."""
_LONGEST_WAIT = 60.0
"""Seconds to wait for a free helper; then the call is left to the kernel, since all helpers seem to hang."""
_MOST_IDLE = 16


def start() -> Helpers:
    """Fork the process that makes helpers. Call this before any thread is started."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid:
        theirs.close()
        return Helpers(ours, pid)
    try:
        keep_only({theirs.fileno()})
        os.dup2(0, 2)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no waiting for helpers that end
        _make_helpers(theirs)
    finally:
        os._exit(0)


def _make_helpers(sock: socket.socket) -> None:
    while True:
        request, fds = _receive(sock)
        if request is None:
            return
        if os.fork():
            for fd in fds:
                os.close(fd)
            continue
        sock.close()
        with socket.socket(fileno=fds[0]) as conn:
            uids, gids, groups, capabilities = request
            credentials = Credentials(tuple(uids), tuple(gids), tuple(groups), capabilities)
            proc_fds = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            become(credentials, fds[1] if len(fds) > 1 else None)
            _serve(conn, Actor(owns=owner_of(credentials), proc_fds=proc_fds))
        return


def owner_of(credentials: Credentials) -> Any:
    """The test whether a file counts as the caller's own. With CAP_FOWNER every file does."""
    if credentials.capabilities >> _CAP_FOWNER & 1:
        return lambda uid: True  # noqa: ARG005
    return lambda uid: uid == credentials.uids[3]


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


def become(credentials: Credentials, root: int | None) -> None:
    """Take on a caller's credentials for good, and give up all other privileges.

    Args:
        credentials: those of the caller.
        root: its root directory, if it is not the supervisor's.

    Raises:
        OSError: not all of it was possible; the process must not act for the caller.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if root is not None:
        os.fchdir(root)
        os.chroot(".")
        os.close(root)
    os.chdir("/")
    libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups(credentials.groups)
    os.setresgid(*credentials.gids[:3])
    libc.setfsgid(credentials.gids[3])
    os.setresuid(*credentials.uids[:3])
    libc.setfsuid(credentials.uids[3])
    low, high = credentials.capabilities & 0xFFFFFFFF, credentials.capabilities >> 32
    sets = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)  # effective, permitted, inheritable
    if libc.capset(ctypes.byref(_Header(0x20080522, 0)), ctypes.byref(sets)):
        raise OSError(ctypes.get_errno(), "capset")
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # the user with this id must not be able to inspect the process
    fs = (libc.setfsuid(-1), libc.setfsgid(-1))  # with -1 they only report the current ids
    mine = (os.getresuid(), os.getresgid(), tuple(sorted(os.getgroups())))
    wanted = (credentials.uids[:3], credentials.gids[:3], credentials.groups)
    if mine != wanted or fs != (credentials.uids[3], credentials.gids[3]):
        raise OSError(1, "other credentials than were asked for")


def _receive(sock: socket.socket) -> tuple[Any, list[int]]:
    """Receive one message and its descriptors; None if the other side is gone."""
    data, fds, _, _ = socket.recv_fds(sock, _LARGEST, 4)
    for fd in fds:
        os.set_inheritable(fd, False)
    return (json.loads(data) if data else None), fds


def _serve(conn: socket.socket, actor: Actor) -> None:
    """Serve requests one at a time, until the other side is gone."""
    places: list[Place] = []
    while True:
        request, fds = _receive(conn)
        if request is None:
            return
        do, *rest = request
        answer: list[Any]
        try:
            if do == "open":
                actor.close(places)
                places = []
                places = actor.open([(None if at is None else fds[at], path) for at, path in rest])
                answer = [[*place.identity, place.path, place.name] for place in places]
            elif do == "handoff":
                result = actor.handoff(places[0], places[1], *rest)
                answer = [result.error, result.how, result.moved, result.aside, result.refusal]
            elif do == "rename":
                answer = [actor.rename(places[0], places[1], *rest)]
            elif do == "link":
                answer = [actor.link(places[0], places[1])]
            else:
                answer = [actor.unlink(places[0] if not rest else _beside(places[0], *rest))]
        except OSError as error:
            answer = ["failed", error.errno]
        except ValueError:
            answer = ["failed", None]
        for fd in fds:
            os.close(fd)
        conn.send(json.dumps(answer).encode())


def _beside(place: Place, name: str) -> Place:
    return Place(place.fd, place.identity, place.path, name)


class HelperDied(OSError):
    """The helper process is gone. Its last call may have been executed."""


class Helper:
    """An actor in another process: the methods of `Actor`, for one caller at a time."""

    def __init__(self, conn: socket.socket, key: object) -> None:
        self._conn = conn
        self.key = key
        self.broken = False

    def _ask(self, *request: object, fds: tuple[int, ...] = ()) -> list[Any]:
        try:
            socket.send_fds(self._conn, [json.dumps(request).encode()], fds)
            data = self._conn.recv(_LARGEST)
            answer: list[Any] = json.loads(data)
        except (OSError, ValueError) as error:
            self.broken = True
            raise HelperDied(5, "the process that acts for the caller is gone") from error
        if answer[:1] == ["failed"]:
            if answer[1] is None:
                raise ValueError("a path without a name")
            raise OSError(answer[1], os.strerror(answer[1]))
        return answer

    def open(self, wanted: list[tuple[int | None, str]]) -> list[Place]:
        """See `Actor.open`."""
        bases = [base for base, _ in wanted if base is not None]
        request = [(None if base is None else bases.index(base), path) for base, path in wanted]
        found = self._ask("open", *request, fds=tuple(bases))
        return [Place(-1, (device, inode), path, name) for device, inode, path, name in found]

    def close(self, places: list[Place]) -> None:
        """See `Actor.close`; the helper process closes them when it opens the next ones."""

    def link(self, src: Place, dst: Place) -> int:  # noqa: ARG002
        """See `Actor.link`."""
        return int(self._ask("link")[0])

    def unlink(self, place: Place) -> int:
        """See `Actor.unlink`."""
        return int(self._ask("unlink", place.name)[0])

    def handoff(self, src: Place, dst: Place, private: bool, durable: bool) -> Result:  # noqa: ARG002
        """See `Actor.handoff`."""
        error, how, moved, aside, refusal = self._ask("handoff", private, durable)
        return Result(int(error), str(how), bool(moved), str(aside), int(refusal))

    def rename(self, src: Place, dst: Place, noreplace: bool) -> int:  # noqa: ARG002
        """See `Actor.rename`."""
        return int(self._ask("rename", noreplace)[0])

    def alive(self) -> bool:
        """Whether its process is there: its user may have killed it."""
        try:
            return bool(self._conn.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def end(self) -> None:
        """End the helper process."""
        self._conn.close()


class Helpers:
    """Hands out helpers, and takes them back for reuse.

    Attributes:
        pid: the process that forks helpers; it ends with the supervisor.
    """

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self.pid = pid
        self._sock = sock
        self._changed = Condition()
        self._idle: list[Helper] = []
        self._busy: dict[object, int] = {}

    def fileno(self) -> int:
        """The descriptor that must stay open."""
        return self._sock.fileno()

    def take(self, credentials: Credentials, root: int | None) -> Helper | None:
        """A helper with these credentials; None if the most that are allowed have been busy for too long.

        Args:
            credentials: the caller's.
            root: the caller's root directory if it is another; such a helper is used only once.
        """
        key = credentials.key()
        with self._changed:
            if not self._changed.wait_for(lambda: self._busy.get(key, 0) < _MOST_AT_ONCE, _LONGEST_WAIT):
                return None
            for helper in [one for one in reversed(self._idle) if root is None and one.key == key]:
                self._idle.remove(helper)
                if helper.alive():
                    break
                helper.end()
            else:
                helper = self._make(credentials, key, root)  # it counts only if there were descriptors for it
            self._busy[key] = self._busy.get(key, 0) + 1
            return helper

    def _make(self, credentials: Credentials, key: object, root: int | None) -> Helper:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            fds = array.array("i", [theirs.fileno()] + ([] if root is None else [root]))
            request = [credentials.uids, credentials.gids, credentials.groups, credentials.capabilities]
            try:
                socket.send_fds(self._sock, [json.dumps(request).encode()], list(fds))
            except OSError:
                pass  # the helper's first answer will be missing
        helper = Helper(ours, key)
        helper.broken = root is not None
        return helper

    def give_back(self, helper: Helper) -> None:
        """Take back a helper whose call is done."""
        with self._changed:
            self._changed.notify_all()
            self._busy[helper.key] -= 1
            if not self._busy[helper.key]:
                del self._busy[helper.key]
            if not helper.broken:
                self._idle.append(helper)
                if len(self._idle) <= _MOST_IDLE:
                    return
                helper = self._idle.pop(0)
        helper.end()
