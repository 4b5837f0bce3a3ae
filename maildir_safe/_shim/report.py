"""What the shim reports to people: nothing, unless asked to."""

from __future__ import annotations

import errno
import os
from threading import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from maildir_safe._shim.actor import Place
    from maildir_safe._shim.caller import Caller


class Event:
    """A caught call that was changed, or would be changed without ``--check``.

    Attributes:
        pid, program: the process that made the call, and the name of its program.
        src, dst: its names; `dst` is None for an unlink.
        what: ``renamed``, ``reply lost``, ``refused``, ``unknown``, ``ghost``, ``made durable``,
            ``told EXDEV``, ``checked``, ``left alone``.
        refusal: the errno from the mount itself; None if the mount was not asked.
        pair: the handoff, such as ``"tmp:new"``; None if it is not a handoff.
        answer: the errno returned to the program.
    """

    __slots__ = ("answer", "dst", "pair", "pid", "program", "refusal", "src", "what")

    def __init__(
        self, caller: Caller, src: Place, dst: Place | None, what: str, refusal: int | None,
        pair: str | None = None, answer: int = 0,
    ) -> None:  # fmt: skip
        self.pid = caller.tgid
        self.program = caller.command
        self.src = src
        self.dst = dst
        self.what = what
        self.refusal = refusal
        self.pair = pair
        self.answer = answer


class Report:
    """Writes one line per event, and a summary for `--check` at the end. Thread-safe.

    Args:
        out: where lines are written; None: nowhere.
        json: write JSON lines, for programs.
        check: collect events for `summary` instead of writing them.
    """

    def __init__(self, out: TextIO | None = None, json: bool = False, check: bool = False) -> None:
        self.out = out
        self._json = json
        self._check = check
        self._lock = Lock()
        self._counts: dict[tuple[str, ...], int] = {}

    def note(self, text: str) -> None:
        """Report something about the whole run."""
        if self.out is not None:
            self._write({"note": text}, text)

    def tell(self, event: Event) -> None:
        """Report an event."""
        if self.out is None:
            return
        program = event.program
        if self._check:
            row = (program, _end(event.src), _end(event.dst), _word(event.refusal), _advice(event))
            with self._lock:
                self._counts[row] = self._counts.get(row, 0) + 1
            return
        src, dst = _full(event.src), _full(event.dst)
        fields = {
            "pid": event.pid, "program": program, "what": event.what, "src": src, "dst": dst,
            "pair": event.pair, "mount": _word(event.refusal), "answer": _word(event.answer),
        }  # fmt: skip
        said = f" (the mount said {_word(event.refusal)})" if event.refusal else ""
        arrow = f" -> {dst}" if dst else ""
        told = f", told {_word(event.answer)}" if event.answer else ""
        self._write(fields, f"{program}[{event.pid}]: {event.what}: {src}{arrow}{said}{told}")

    def summary(self) -> None:
        """Write the findings of `--check`: per kind of link one line with its count and the advice."""
        if self.out is None or not self._check:
            return
        if not self._counts:
            self._write({"links": 0}, "no links: this program does not need the shim")
        for (program, src, dst, said, advice), count in sorted(self._counts.items()):
            fields = {
                "program": program,
                "src": src,
                "dst": dst,
                "mount": said,
                "count": count,
                "advice": advice,
            }
            self._write(fields, f"{program}: {count} x {src} -> {dst}: {said or 'not asked'}; {advice}")

    def _write(self, fields: dict[str, object], text: str) -> None:
        if self._json:
            import json

            line = json.dumps(fields)
        else:
            line = "maildir-safe run: " + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
        with self._lock:
            try:
                print(line, file=self.out, flush=True)
            except (OSError, ValueError):
                pass  # the reader is gone


def _word(error: int | None) -> str:
    if error is None:
        return ""
    return errno.errorcode.get(error, str(error)) if error else "ok"


def _full(place: Place | None) -> str:
    return "" if place is None else os.path.join(place.path, place.name)


def _end(place: Place | None) -> str:
    """The last two directories of a path, from which a pair can be made."""
    return "" if place is None else "/".join(place.path.split("/")[-2:]) + "/"


def _advice(event: Event) -> str:
    if event.what == "left alone":
        if event.dst is not None and event.src.identity == event.dst.identity:
            return "inside one directory, perhaps a lock: never changed"
        return "no known handoff: left alone unless --pair says that it is one"
    if not event.refusal:
        return f"handoff {event.pair}: links work here, nothing to change"
    from maildir_safe._shim.handoff import REFUSALS

    if event.refusal in REFUSALS:
        return f"handoff {event.pair}: would be renamed"
    return f"handoff {event.pair}: an error that would be passed on"
