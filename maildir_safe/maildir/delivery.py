"""Delivery: letters are taken in batches, most of them of one, and each batch is attempted.

What an attempt does is in `maildir_safe.maildir.attempt`. What it refuses for a reason that a new
file may mend is tried again, alone: a file whose fsync failed is written anew, since the kernel may
have dropped its pages.
"""

from __future__ import annotations

from _thread import allocate_lock as Lock

from maildir_safe.commit import Combiner
from maildir_safe.errors import TemporaryError, storage_error
from maildir_safe.handoff import Handoff
from maildir_safe.maildir.attempt import Attempt, has_syncfs
from maildir_safe.maildir.letter import TRIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maildir_safe.fs import FileSystem
    from maildir_safe.maildir.directories import Directories
    from maildir_safe.maildir.letter import Letter
    from maildir_safe.names import UniqueNames

_CROWD = 8  # fewer fsyncs in parallel are faster than one syncfs (FACTS.md section 4)
_BATCH = 256


class Delivery:
    """Puts letters into one Maildir. Thread-safe.

    Args:
        fs: the file system's calls.
        path: the Maildir, for receipts and messages.
        directories: gives the open directories; called with True, opens them anew.
        names: makes unique names.
        staging: ``"tmp"``, or ``"new"`` to write where the message goes, under a dot name.
        require: refuse a letter whose durability would be less than this level.
        patience: see `Handoff`.
    """

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        directories: Callable[[bool], Directories],
        names: UniqueNames,
        staging: str,
        require: str | None,
        patience: float,
    ) -> None:
        self._fs = fs
        self._path = path
        self._directories = directories
        self._names = names
        self._in_tmp = staging == "tmp"
        self._require = require
        self._handoff = Handoff(fs, patience)
        self._combiner = Combiner(_BATCH)
        self._lock = Lock()
        self._outstanding = 0

    def deliver(self, letter: Letter) -> Letter:
        """Deliver one letter, and give it back; concurrent callers share fsyncs.

        Raises:
            TemporaryError: not delivered, and nothing is left of it.
            UnknownOutcome: delivered or not; the caller keeps the message.
        """
        with self._lock:
            self._outstanding += 1
            crowded = self._outstanding >= _CROWD
        try:
            if crowded and has_syncfs(self._directories(False)):
                self._combiner.run(letter, self.commit)
            elif not self._attempt([letter]):
                self._again([letter])
        finally:
            with self._lock:
                self._outstanding -= 1
        if letter.proof is None:
            raise letter.failure()
        return letter

    def commit(self, letters: Sequence[Letter]) -> bool:
        """Deliver any number of letters in batches; whether all are. What became of each is in the letter."""
        kinds = {(letter.subdir, letter.replaces) for letter in letters}
        good = True
        for kind in kinds:
            good &= self.commit_alike([one for one in letters if (one.subdir, one.replaces) == kind])
        return good

    def commit_alike(self, letters: Sequence[Letter]) -> bool:
        """`commit` for letters that go to one directory, and replace a message all or none."""
        good = True
        for start in range(0, len(letters), _BATCH):
            batch = letters[start : start + _BATCH]
            if self._attempt(batch) < len(batch):
                good &= self._again(batch)
        return good

    def _again(self, batch: Sequence[Letter]) -> bool:
        """Try once more what may succeed then; whether all letters of a batch are delivered now."""
        for letter in batch:
            if letter.again and letter.tries > 1 and isinstance(letter.pieces, tuple):
                letter.tries -= 1
                letter.reset()
                self.commit_alike([letter])  # alone, so that only what is at fault is refused
        return all(letter.proof for letter in batch)

    def _attempt(self, batch: Sequence[Letter]) -> int:
        first = batch[0]
        try:
            dirs = self._directories(first.tries < TRIES)
            attempt = Attempt(self._fs, self._path, dirs, first.subdir, self._in_tmp, self._handoff)
            done = attempt.run(batch, self._names, self._require)
        except (OSError, TemporaryError) as error:  # the directories cannot be opened
            for letter in batch:
                letter.error = (
                    error if isinstance(error, TemporaryError) else storage_error(self._path, error)
                )
            return 0
        if attempt.two_file_systems:
            self._in_tmp = False  # from now on write where the message goes
        return done
