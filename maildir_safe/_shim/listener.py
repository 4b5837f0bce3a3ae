"""The kernel's questions about caught calls, and the answers; see seccomp_unotify(2)."""

from __future__ import annotations

import errno
import fcntl
import select
import struct

_RECEIVE = 0xC0502100
_SEND = 0xC0182101
_VALID = 0x40082102
_SET_FLAGS = 0x40082104
_WAKE_HERE = 1  # Linux 6.6: hand the processor over to the thread that is waited for
_QUESTION = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")
_ID = struct.Struct("=Q")
_CONTINUE = 1


class Question:
    """A call in which a thread is stopped.

    Attributes:
        id: the kernel's number of this question.
        tid: the thread that is stopped.
        number, arch, args: of the system call.
    """

    __slots__ = ("arch", "args", "id", "number", "tid")

    def __init__(self, fields: tuple[int, ...]) -> None:
        self.id, self.tid, _, self.number, self.arch, _, *args = fields
        self.args = tuple(args)


class Listener:
    """The descriptor that `filter.install` returned. Safe for many threads."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        try:
            fcntl.ioctl(fd, _SET_FLAGS, _WAKE_HERE)
        except OSError:
            pass  # an older kernel, which is slower

    def ended(self) -> bool:
        """Whether no process is left under the filter."""
        poll = select.poll()
        poll.register(self.fd, 0)
        return any(events & select.POLLHUP for _, events in poll.poll(0))

    def receive(self) -> Question | None:
        """Wait for the next caught call; None if there can be no more."""
        while True:
            room = bytearray(_QUESTION.size)
            try:
                fcntl.ioctl(self.fd, _RECEIVE, room, True)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EINTR):
                    raise
                if self.ended():
                    return None
            else:  # ENOENT above: the caller was killed before we received its call
                return Question(_QUESTION.unpack(room))

    def valid(self, question: Question) -> bool:
        """Whether the caller still waits; if so, the data read before is really the caller's."""
        return self._ask(_VALID, _ID.pack(question.id))

    def answer(self, question: Question, error: int) -> bool:
        """Let the call return 0, or fail with an errno; False if the caller no longer waits."""
        return self._send(question, -error, 0)

    def pass_on(self, question: Question) -> bool:
        """Let the kernel run the call as if it had not been caught."""
        return self._send(question, 0, _CONTINUE)

    def _send(self, question: Question, error: int, flags: int) -> bool:
        return self._ask(_SEND, _ANSWER.pack(question.id, 0, error, flags))

    def _ask(self, request: int, data: bytes) -> bool:
        """Tell the kernel about a question; False if its caller was killed, or interrupted by a signal."""
        while True:
            try:
                fcntl.ioctl(self.fd, request, data)
                return True
            except OSError as failed:
                if failed.errno == errno.ENOENT:
                    return False
                if failed.errno != errno.EINTR:  # it was ourselves who were stopped and continued
                    raise
