"""The threads that answer calls, and the choice of the actor for a caller."""

from __future__ import annotations

import contextlib
import os
import threading

from maildir_safe._shim import caller as callers
from maildir_safe._shim.actor import Actor
from maildir_safe._shim.helpers import owner_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from maildir_safe._shim.caller import Caller
    from maildir_safe._shim.helpers import Helper, Helpers
    from maildir_safe._shim.listener import Listener, Question

MOST_THREADS = 1024
"""Calls that may hang at the same time without delaying others."""


MOST_WAITING = 2
"""Most threads that wait for a call. The number is small because each call wakes all of them."""


class Actors:
    """Chooses the actor for a caller: this process, a helper, or none.

    Args:
        helpers: None if this process cannot take on other credentials.
        confined: whether the program was started with ``no_new_privs``.
    """

    def __init__(self, helpers: Helpers | None, confined: bool) -> None:
        self._helpers = helpers
        self._me = callers.Caller(os.getpid())
        self._confined = confined or bool(self._me.confined)
        self._key = self._me.credentials.key()
        self._actor = Actor(owns=owner_of(self._me.credentials))

    def hides_rights(self, caller: Caller) -> bool:
        """Whether the caller may have fewer rights than its credentials show.

        In another user namespace its capabilities mean something else. A label of a security module, a filter
        of its own, or a sandbox (which needs ``no_new_privs``) may forbid what we would do.
        """
        return (
            caller.namespaces[0] != self._me.namespaces[0]
            or caller.label != self._me.label
            or caller.filters != self._me.filters + 1  # ours
            or (bool(caller.confined) and not self._confined)
        )

    @contextlib.contextmanager
    def acting_for(self, caller: Caller) -> Iterator[Actor | Helper | None]:
        """The actor for the caller; None: leave the call to the kernel."""
        at_home = (caller.root, caller.namespaces) == (self._me.root, self._me.namespaces)
        if self.hides_rights(caller):
            yield None
        elif at_home and caller.credentials.key() == self._key:
            yield self._actor
        elif self._helpers is None:
            yield None
        else:
            root = None if at_home else callers.root(caller.tid)
            try:
                helper = self._helpers.take(caller.credentials, root)
            finally:
                if root is not None:
                    os.close(root)
            try:
                yield helper
            finally:
                if helper is not None:
                    self._helpers.give_back(helper)


class Threads:
    """One thread per call in progress, and at least one that waits for the next call.

    Args:
        listener: the source of calls.
        handle: answers one call; `failed` receives its exceptions.
        failed: called with the question and the exception.
    """

    def __init__(
        self,
        listener: Listener,
        handle: Callable[[Question], None],
        failed: Callable[[Question, Exception], None],
    ) -> None:
        self._listener = listener
        self._handle = handle
        self._failed = failed
        self._lock = threading.Lock()
        self._waiting = 0
        self._running = 0

    def start(self) -> None:
        """Start a thread.

        Raises:
            RuntimeError: there can be no more threads.
        """
        with self._lock:
            self._waiting += 1
            self._running += 1
        try:
            threading.Thread(target=self._run, daemon=True).start()
        except RuntimeError:
            with self._lock:
                self._waiting -= 1
                self._running -= 1
            raise

    def _run(self) -> None:
        while True:
            question = self._listener.receive()
            if question is None:
                return
            with self._lock:
                self._waiting -= 1
                alone = not self._waiting and self._running < MOST_THREADS
            if alone:
                with contextlib.suppress(RuntimeError):  # a limit of tasks: we wait again after this call
                    self.start()
            try:
                self._handle(question)
            except Exception as error:  # noqa: BLE001 - the caller must be answered
                self._failed(question, error)
            with self._lock:
                if self._waiting >= MOST_WAITING:
                    self._running -= 1
                    return
                self._waiting += 1
