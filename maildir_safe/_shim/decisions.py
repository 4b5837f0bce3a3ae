"""What is done for a call, and what it is answered: without a kernel, so that it can be explored."""

from __future__ import annotations

import errno

from maildir_safe._shim.ghosts import Ghost, Ghosts
from maildir_safe._shim.pairs import Pairs, private
from maildir_safe._shim.report import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from maildir_safe._shim.actor import Actor, Place
    from maildir_safe._shim.ghosts import Owner
    from maildir_safe._shim.helpers import Helper
    from maildir_safe._shim.report import Report

PASS_ON = None
"""Not an errno: the kernel shall run the call."""

STAT_AFTERWARDS = frozenset({"mutt", "neomutt"})
"""Programs that compare both names after a link, and would not believe a rename. They rename by
themselves when link says EXDEV, so they are told that where the mount refuses by another word."""

_OTHER_REFUSALS = frozenset({errno.EACCES, errno.EMLINK, errno.EIO, errno.EREMOTEIO, errno.EINVAL})
"""Words that they do not know."""


class Decisions:
    """Decides calls. `who` tells whose call it is; it is only asked where that matters, since it is slow.

    Args:
        pairs: which directories are hand-offs.
        ghosts: the names that are gone.
        report: is told what was changed.
        durable: fsync the target's directory before a hand-off is reported done.
        check: change nothing, and report what would be changed.
    """

    def __init__(
        self, pairs: Pairs, ghosts: Ghosts, report: Report, durable: bool = False, check: bool = False
    ) -> None:
        self._pairs = pairs
        self._ghosts = ghosts
        self._report = report
        self._durable = durable
        self._check = check

    def link(
        self, actor: Actor | Helper, src: Place, dst: Place, who: Callable[[], Owner], pid: int
    ) -> int | None:
        """A link: its errno, 0, or `PASS_ON`."""
        pair = None if src.identity == dst.identity else self._pairs.match(src.path, dst.path)
        if pair is None:
            if self._check:
                self._report.tell(Event(pid, src, dst, "left alone", None))
            return PASS_ON
        if self._check:
            error = actor.link(src, dst)
            self._report.tell(Event(pid, src, dst, "checked", error, pair))
            return error
        if self._report.command(pid) in STAT_AFTERWARDS:
            return self._translate(actor, src, dst, pid, pair)
        result = actor.hand_over(src, dst, private(pair), self._durable)
        if result.error == errno.ENOENT:
            ghost = self._ghosts.find(src.identity, src.name, who())
            if ghost and ghost.target == (dst.identity, dst.name):  # asked again after a signal
                return ghost.error
        if result.moved:
            target = (dst.identity, dst.name)
            self._ghosts.add(Ghost(src.identity, src.name, who(), target, result.error, result.aside))
        if result.refusal:
            self._report.tell(Event(pid, src, dst, result.how, result.refusal, pair, result.error))
        return result.error

    def _translate(self, actor: Actor | Helper, src: Place, dst: Place, pid: int, pair: str) -> int:
        error = actor.link(src, dst)
        if error not in _OTHER_REFUSALS:
            return error
        self._report.tell(Event(pid, src, dst, "told EXDEV", error, pair, errno.EXDEV))
        return errno.EXDEV

    def unlink(
        self, actor: Actor | Helper, place: Place, who: Callable[[], Owner], pid: int
    ) -> tuple[int | None, Ghost | None]:
        """An unlink: its errno, 0 or `PASS_ON`; and the ghost that was taken for it, to be settled.

        It is never swallowed: if the name is there, it is a file, and that is removed.
        """
        ghost = self._ghosts.find(place.identity, place.name, who())
        if ghost is None:
            return PASS_ON, None
        error = actor.unlink(place)
        if error not in (0, errno.ENOENT) or not self._ghosts.take(ghost):
            return error, None
        if error == errno.ENOENT and not ghost.renamed:
            error = self._lay(ghost, actor, place)
            self._report.tell(Event(pid, place, None, "ghost", errno.ENOENT, answer=error))
        return error, ghost

    def _lay(self, ghost: Ghost, actor: Actor | Helper, place: Place) -> int:
        """Answer for a name that is gone: the file itself is removed only if it was withdrawn."""
        if not ghost.aside:
            return 0
        place.name, name = ghost.aside, place.name
        try:
            error = actor.unlink(place)
        except OSError:
            error = errno.EIO
        place.name = name
        return 0 if error == errno.ENOENT else error

    def rename(
        self,
        actor: Actor | Helper,
        src: Place,
        dst: Place,
        noreplace: bool,
        who: Callable[[], Owner],
        pid: int,
    ) -> int | None:
        """A rename by the program itself, when hand-offs shall be durable: its errno, 0 or `PASS_ON`."""
        pair = None if src.identity == dst.identity else self._pairs.match(src.path, dst.path)
        if pair is None or self._check or not self._durable:
            return PASS_ON
        error = actor.rename(src, dst, noreplace)
        target = (dst.identity, dst.name)
        if error == errno.ENOENT:
            ghost = self._ghosts.find(src.identity, src.name, who())
            if ghost and ghost.renamed and ghost.target == target:  # asked again after a signal
                return ghost.error
        if error in (0, errno.EIO):
            self._ghosts.add(Ghost(src.identity, src.name, who(), target, error, renamed=True))
        self._report.tell(Event(pid, src, dst, "made durable", None, pair, error))
        return error
