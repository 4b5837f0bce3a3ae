"""The choice of the actor for a caller."""

from __future__ import annotations

import contextlib
import os

from maildir_safe._fs import libc
from maildir_safe._shim import caller as callers
from maildir_safe._shim.actor import Actor
from maildir_safe._shim.caller import Credentials
from maildir_safe._shim.helpers import owner_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from maildir_safe._shim.caller import Caller
    from maildir_safe._shim.helpers import Helper, Helpers

_CAP_SETGID = 6


@contextlib.contextmanager
def _ids_of(caller: Credentials, me: Credentials) -> Iterator[None]:
    """Let this thread, and no other, access files with a caller's user and groups.

    Raises:
        OSError: that is not possible.
        RuntimeError: this thread has not got its own back: the supervisor must end.
    """
    try:
        _set_ids(caller, me)
        yield
    finally:
        try:
            _set_ids(me, caller)
        except OSError as error:  # also where no group may be changed at all, so that none was
            if not libc.has_file_system_ids(me.uids[3], me.gids[3], me.groups):
                raise RuntimeError("the supervisor has lost its user or its groups") from error


def _set_ids(wanted: Credentials, now: Credentials) -> None:
    if (wanted.uids[3], wanted.groups) == (now.uids[3], now.groups):
        libc.set_file_system_group(wanted.gids[3])
    else:
        libc.set_file_system_ids(wanted.uids[3], wanted.gids[3], wanted.groups)


class Actors:
    """Chooses the actor for a caller: this process, a helper, or none.

    Attributes:
        labels: whether this system has labels of a security module.
        labelled: whether such a module confines this process.

    Args:
        helpers: None if this process cannot take on other credentials.
        confined: whether the program was started with ``no_new_privs``.
    """

    def __init__(self, helpers: Helpers | None, confined: bool) -> None:
        self._helpers = helpers
        self._me = callers.Caller(os.getpid())
        self.labels = bool(self._me.label)
        self.labelled = self._me.label.strip(b"\0\n") not in (b"", b"unconfined")
        self._confined = confined or bool(self._me.confined)
        self._key = self._me.credentials.key()
        self._rights = self._me.credentials.rights()
        self._changes_groups = bool(self._rights[1] >> _CAP_SETGID & 1)
        self._actor = Actor(owns=owner_of(self._me.credentials))

    def hides_rights(self, caller: Caller) -> bool:
        """Whether the caller may have fewer rights than its credentials show.

        In another user namespace its capabilities mean something else. A label of a security module, a filter
        of its own, or a sandbox (which needs ``no_new_privs``) may forbid what we would do.
        """
        return (
            caller.user_namespace != self._me.user_namespace
            or caller.label != self._me.label
            or caller.filters != self._me.filters + 1  # ours
            or (bool(caller.confined) and not self._confined)
        )

    @contextlib.contextmanager
    def seeing_as(self, uid: int, gid: int) -> Iterator[bool]:
        """Let this thread look paths up with no more rights than another user has; False: it cannot.

        Without the user's further groups: a directory that only these may enter is not seen.
        """
        if self._helpers is None:
            yield False
        else:
            user = Credentials((uid,) * 4, (gid,) * 4, (), 0)
            with _ids_of(user, self._me.credentials):
                yield True

    @contextlib.contextmanager
    def acting_for(self, caller: Caller) -> Iterator[Actor | Helper | None]:
        """The actor for the caller; None: leave the call to the kernel."""
        at_home = caller.root == self._me.root
        if self.hides_rights(caller):
            yield None
        elif at_home and caller.credentials.key() == self._key:
            yield self._actor
        elif at_home and self._changes_groups and caller.credentials.rights() == self._rights:
            # a set-group-ID program that root runs, such as procmail: far cheaper than a helper
            with _ids_of(caller.credentials, self._me.credentials):
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
