"""Names that were renamed away and that their program will still unlink.

A ghost belongs to the program that created it: to its process, its children, and the children of its parent
(a shell's `ln` and `rm`), of the same user. It answers one unlink. It is forgotten when a new file of that
name is removed, and when the processes that could use it have ended.
"""

from __future__ import annotations

from threading import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Identity = tuple[int, int]
    Process = tuple[int, int]

MOST = 4096
"""Most ghosts; the oldest of the user who has the most are forgotten first. Their unlink then fails with
ENOENT."""

_SWEEP_FROM = 64


class Owner:
    """The owner of a ghost, who may use it.

    Attributes:
        process: process id and start time, so that a reused id is recognised.
        parent: the same for its parent; None if that is the supervisor, which is the parent of all orphans.
        uid: the user with whose rights it accesses files.
    """

    __slots__ = ("parent", "process", "uid")

    def __init__(self, process: Process, parent: Process | None, uid: int) -> None:
        self.process = process
        self.parent = parent
        self.uid = uid

    def includes(self, other: Owner) -> bool:
        """Whether `other` may use this owner's ghosts."""
        if self.uid != other.uid:
            return False
        if self.process in (other.process, other.parent):
            return True
        return self.parent is not None and self.parent == other.parent


class Ghost:
    """A name that was renamed away.

    Attributes:
        directory, name: the old directory and name.
        owner: see `Owner`.
        target: the new directory and name.
        error: the errno that the link returned.
        aside: the new name if the file was withdrawn; "" if it was handed over.
        renamed: the program renamed it by itself, and will not unlink it.
        taken: an unlink is being answered with it.
    """

    __slots__ = ("aside", "directory", "error", "name", "owner", "renamed", "taken", "target")

    def __init__(
        self, directory: Identity, name: str, owner: Owner, target: tuple[Identity, str],
        error: int = 0, aside: str = "", renamed: bool = False,
    ) -> None:  # fmt: skip
        self.directory = directory
        self.name = name
        self.owner = owner
        self.target = target
        self.error = error
        self.aside = aside
        self.renamed = renamed
        self.taken = False


class Ghosts:
    """All ghosts of a supervisor. Thread-safe.

    Args:
        alive: whether a process still exists.
    """

    def __init__(self, alive: Callable[[Process], bool]) -> None:
        self._alive = alive
        self._lock = Lock()
        self._all: dict[tuple[Identity, str], Ghost] = {}
        self._names: dict[str, int] = {}
        self._sweep_at = _SWEEP_FROM

    def __len__(self) -> int:
        return len(self._all)

    def may_know(self, name: str) -> bool:
        """Whether there is a ghost of this name in any directory: a cheap test, as most names have none."""
        return name in self._names

    def add(self, ghost: Ghost) -> None:
        """Add a ghost, which replaces an older one of the same name."""
        with self._lock:
            self._drop((ghost.directory, ghost.name))
            if len(self._all) >= self._sweep_at:
                self._sweep()
            self._all[ghost.directory, ghost.name] = ghost
            self._names[ghost.name] = self._names.get(ghost.name, 0) + 1

    def find(self, directory: Identity, name: str, who: Owner) -> Ghost | None:
        """The ghost of this name, if `who` may use it."""
        ghost = self._all.get((directory, name))
        return ghost if ghost and not ghost.taken and ghost.owner.includes(who) else None

    def take(self, ghost: Ghost) -> bool:
        """Take a ghost for an unlink, to be settled by `settle`; False if another thread was faster."""
        with self._lock:
            if ghost.taken or self._all.get((ghost.directory, ghost.name)) is not ghost:
                return False
            ghost.taken = True
            return True

    def settle(self, ghost: Ghost, used: bool) -> None:
        """Finish with a ghost that was taken.

        Args:
            ghost: a ghost from `find` that was taken.
            used: the program was told that the name is gone; else it will repeat the call.
        """
        with self._lock:
            ghost.taken = False
            if used and self._all.get((ghost.directory, ghost.name)) is ghost:
                self._drop((ghost.directory, ghost.name))

    def _drop(self, key: tuple[Identity, str]) -> None:
        if self._all.pop(key, None):
            self._names[key[1]] -= 1
            if not self._names[key[1]]:
                del self._names[key[1]]

    def _sweep(self) -> None:
        """Forget those of processes that have ended, and if that is not enough, an eighth of all.

        So the cost of a look at all processes is spread over many new ghosts, and none can be added for which
        every further one would pay.
        """
        known: dict[Process, bool] = {}
        for key, ghost in list(self._all.items()):
            if not any(self._lives(process, known) for process in (ghost.owner.process, ghost.owner.parent)):
                self._drop(key)
        if len(self._all) > MOST - MOST // 8:
            self._make_room()
        self._sweep_at = min(MOST, max(_SWEEP_FROM, 2 * len(self._all)))

    def _lives(self, process: Process | None, known: dict[Process, bool]) -> bool:
        if process is None:
            return False
        if process not in known:
            known[process] = self._alive(process)
        return known[process]

    def _make_room(self) -> None:
        """Forget the oldest of the users who have the most."""
        by_user: dict[int, list[tuple[Identity, str]]] = {}
        for key, ghost in reversed(self._all.items()):
            by_user.setdefault(ghost.owner.uid, []).append(key)
        for _ in range(MOST // 8):
            self._drop(max(by_user.values(), key=len).pop())
