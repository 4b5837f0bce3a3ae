"""Decides what is done for a call, and what it returns. Needs no kernel, so that tests can explore it."""

from __future__ import annotations

import errno

from maildir_safe._shim.ghosts import Ghost, Ghosts
from maildir_safe._shim.pairs import Pairs, private
from maildir_safe._shim.report import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from maildir_safe._shim.actor import Actor, Place
    from maildir_safe._shim.caller import Caller
    from maildir_safe._shim.ghosts import Owner
    from maildir_safe._shim.helpers import Helper
    from maildir_safe._shim.report import Report

PASS_ON = None
"""Not an errno: leave the call to the kernel."""

STAT_AFTERWARDS = frozenset({"mutt", "neomutt"})
"""Programs that compare both names after a link, and so would not accept a rename. They rename by
themselves if link fails with EXDEV, so they get EXDEV if the mount refuses with another errno."""

_OTHER_REFUSALS = frozenset({errno.EACCES, errno.EMLINK, errno.EIO, errno.EREMOTEIO, errno.EINVAL})
"""Errnos after which these programs do not rename."""


class Decisions:
    """Decides calls. `who` returns the owner of a call; it is slow, so it is only called when needed.

    Args:
        pairs: the pairs of directories that are handoffs.
        ghosts: the names that were renamed away.
        report: receives events.
        durable: fsync the target's directory before a handoff is reported done.
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
        self,
        actor: Actor | Helper,
        src: Place,
        dst: Place,
        who: Callable[[], Owner],
        caller: Caller,
        linked: Callable[[], None],
    ) -> int | None:
        """Answer a link: an errno, 0, or `PASS_ON`. `linked` is called when the mount has made the link."""
        pair = None if src.identity == dst.identity else self._pairs.match(src.path, dst.path)
        if pair is None:
            if self._check:
                self._report.tell(Event(caller, src, dst, "left alone", None))
            return PASS_ON
        if self._check:
            error = actor.link(src, dst)
            self._report.tell(Event(caller, src, dst, "checked", error, pair))
            return error
        if caller.command in STAT_AFTERWARDS:
            return self._translate(actor, src, dst, caller, pair)
        result = actor.handoff(src, dst, private(pair), self._durable)
        if result.error == errno.ENOENT:
            ghost = self._ghosts.find(src.identity, src.name, who())
            if ghost and ghost.target == (dst.identity, dst.name):  # repeated after a signal
                return ghost.error
        if result.moved:
            target = (dst.identity, dst.name)
            self._ghosts.add(Ghost(src.identity, src.name, who(), target, result.error, result.aside))
        if not result.refusal:
            linked()
        else:
            self._report.tell(Event(caller, src, dst, result.how, result.refusal, pair, result.error))
        return result.error

    def _translate(self, actor: Actor | Helper, src: Place, dst: Place, caller: Caller, pair: str) -> int:
        error = actor.link(src, dst)
        if error not in _OTHER_REFUSALS:
            return error
        self._report.tell(Event(caller, src, dst, "told EXDEV", error, pair, errno.EXDEV))
        return errno.EXDEV

    def unlink(
        self, actor: Actor | Helper, place: Place, who: Callable[[], Owner], caller: Caller
    ) -> tuple[int | None, Ghost | None]:
        """Answer an unlink: an errno, 0 or `PASS_ON`; and the ghost that was taken for it, to be settled.

        The unlink is always executed: if the name exists, the file is removed.
        """
        ghost = self._ghosts.find(place.identity, place.name, who())
        if ghost is None:
            return PASS_ON, None
        error = actor.unlink(place)
        if error not in (0, errno.ENOENT) or not self._ghosts.take(ghost):
            return error, None
        if error == errno.ENOENT and not ghost.renamed:
            error = self._lay(ghost, actor, place)
            self._report.tell(Event(caller, place, None, "ghost", errno.ENOENT, answer=error))
        return error, ghost

    def _lay(self, ghost: Ghost, actor: Actor | Helper, place: Place) -> int:
        """Answer the unlink of a name that is gone. The file itself is removed only if it was withdrawn."""
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
        caller: Caller,
    ) -> int | None:
        """Answer the program's own rename, if handoffs must be durable: an errno, 0 or `PASS_ON`."""
        pair = None if src.identity == dst.identity else self._pairs.match(src.path, dst.path)
        if pair is None or self._check or not self._durable:
            return PASS_ON
        error = actor.rename(src, dst, noreplace)
        target = (dst.identity, dst.name)
        if error == errno.ENOENT:
            ghost = self._ghosts.find(src.identity, src.name, who())
            if ghost and ghost.renamed and ghost.target == target:  # repeated after a signal
                return ghost.error
        if error in (0, errno.EIO):
            self._ghosts.add(Ghost(src.identity, src.name, who(), target, error, renamed=True))
        self._report.tell(Event(caller, src, dst, "made durable", None, pair, error))
        return error
