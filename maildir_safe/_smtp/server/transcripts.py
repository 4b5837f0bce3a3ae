"""What was said on the last connections, for a tester who wants to know why. Bounded, and in memory only.

Passwords and messages are not in it: after AUTH only the mechanism is kept, and the lines that follow a
command are not commands.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from typing import NamedTuple

MOST_SESSIONS = 100
"""Connections that are remembered."""
_FIRST_LINES = 60
_LAST_LINES = 60
_LONGEST = 300


class Line(NamedTuple):
    """One line.

    Attributes:
        who: ``client``, ``server``, or ``note`` for what happened besides.
        text: the line, cut to 300 characters.
        seconds: when, after the connection began.
    """

    who: str
    text: str
    seconds: float


class Transcript:
    """One connection.

    Attributes:
        number: counts the connections, from 1.
        peer: the client's IP address; ``""`` on a unix socket.
        protocol: ``SMTP`` or ``LMTP``.
        began: when, in seconds since 1970.
        open: whether the connection still is.
        left_out: how many lines in the middle were not kept.
    """

    def __init__(self, number: int, peer: str, protocol: str) -> None:
        self.number, self.peer, self.protocol = number, peer, protocol
        self.began, self.open, self.left_out = time.time(), True, 0
        self._start = time.monotonic()
        self._first: list[Line] = []
        self._last: deque[Line] = deque(maxlen=_LAST_LINES)

    @property
    def lines(self) -> list[Line]:
        """The lines that were kept."""
        return [*self._first, *self._last]

    @property
    def refusals(self) -> int:
        """How many of the lines are replies that refuse something."""
        return sum(line.who == "server" and line.text[:1] in ("4", "5") for line in self.lines)

    @property
    def refusal(self) -> str:
        """The first reply that refuses something, behind its command; ``""``: there is none."""
        said = ""
        for line in self.lines:
            if line.who == "client":
                said = line.text
            elif line.who == "server" and line.text[:1] in ("4", "5"):
                return f"{said}: {line.text}" if said else line.text
        return ""

    def client(self, command: str) -> None:
        """The client sent a command line."""
        words = command.split(None, 2)
        if len(words) > 2 and words[0].upper() == "AUTH":
            command = f"{words[0]} {words[1]} ***"
        self._add("client", command)

    def server(self, reply: str) -> None:
        """The server answered; a reply may have several lines."""
        for line in reply.split("\r\n"):
            self._add("server", line)

    def note(self, text: str) -> None:
        """Something happened that is no line of the dialogue."""
        self._add("note", text)

    def _add(self, who: str, text: str) -> None:
        shown = text[:_LONGEST].encode("utf-8", "backslashreplace").decode()
        shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in shown)
        line = Line(who, shown, round(time.monotonic() - self._start, 3))
        if len(self._first) < _FIRST_LINES:
            self._first.append(line)
        else:
            self.left_out += len(self._last) == _LAST_LINES
            self._last.append(line)


class Transcripts:
    """The last connections of one process, the newest first."""

    def __init__(self) -> None:
        self._all: deque[Transcript] = deque(maxlen=MOST_SESSIONS)
        self._numbers = itertools.count(1)

    def begin(self, peer: str, protocol: str) -> Transcript:
        """Remember a new connection; the oldest is forgotten."""
        transcript = Transcript(next(self._numbers), peer, protocol)
        self._all.appendleft(transcript)
        return transcript

    @property
    def newest(self) -> list[Transcript]:
        """All that are remembered, the newest first."""
        return list(self._all)
