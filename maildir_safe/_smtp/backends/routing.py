"""From an address to the Maildirs it may mean, best first. Pure: nothing is looked up here.

An address can never name a path outside the template: a mapped part holds only the characters of
the allow-list, never begins with a dot and never holds two in a row, so ``/``, ``..`` and ``@sys``
(which Coda expands) cannot occur in it.
"""

from __future__ import annotations

import re
import string

from maildir_safe._smtp.protocol.replies import NO_MAILBOX, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object

_LOCAL = re.compile(r"[a-z0-9_=+-]+(?:\.[a-z0-9_=+-]+)*")
_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")


class Routing(Protocol):
    """Decides where mail goes.

    Attributes:
        test_mode: every address is taken, and nothing is kept from anybody: the server may also
            offer what only a sender's test needs (any password, DSN).
    """

    test_mode: bool

    def candidates(self, address: str) -> list[str]:
        """Paths of Maildirs for `address`, best first. Raises `Refused` if there can be none."""


class CatchAll:
    """Test mode: one Maildir takes everything.

    Args:
        path: the Maildir.
    """

    test_mode = True

    def __init__(self, path: str) -> None:
        self.path = path

    def candidates(self, address: str) -> list[str]:  # noqa: ARG002 - every address is the same here
        """The one Maildir."""
        return [self.path]


class MailboxMap:
    """A Maildir for each address, by a template; only those that exist take mail.

    Upper case is folded, for domains by rule and for local parts because every mail system does.
    ``bob+tag`` means its own Maildir if there is one, and ``bob`` otherwise (RFC 5233).

    Args:
        template: an absolute path with ``{local}`` and perhaps ``{domain}`` in it, for example
            ``/mail/{domain}/{local}``.
        postmaster: the address that gets mail for ``postmaster`` (RFC 5321 4.5.1: always taken)
            where that has no Maildir of its own.

    Raises:
        ValueError: the template or the postmaster's address cannot work.
    """

    test_mode = False

    def __init__(self, template: str, postmaster: str | None = None) -> None:
        try:
            fields = {field for _, field, _, _ in string.Formatter().parse(template) if field is not None}
        except ValueError as error:
            raise ValueError(f"--map {template}: {error}") from None
        if not template.startswith("/") or "local" not in fields or not fields <= {"local", "domain"}:
            raise ValueError(
                f"--map {template}: an absolute path with {{local}} and perhaps {{domain}} in it"
            )
        self.template = template
        self._postmaster: str | None = None
        if postmaster is not None:
            try:
                self.candidates(postmaster)
            except Refused:
                raise ValueError(f"--postmaster {postmaster}: not an address of this server") from None
            self._postmaster = postmaster

    def candidates(self, address: str) -> list[str]:
        """Paths for `address`, best first. Raises `Refused` (550 5.1.1) if it fits no mailbox name."""
        local, _, domain = address.rpartition("@") if "@" in address else (address, "", "")
        names = [local.lower()]
        if "+" in local:
            names.append(names[0].partition("+")[0])
        paths = [path for name in names if (path := self._path(name, domain.lower()))]
        if names[-1] == "postmaster" and self._postmaster is not None:
            paths += self.candidates(self._postmaster)
        if not paths:
            raise Refused(NO_MAILBOX)
        return paths

    def _path(self, local: str, domain: str) -> str | None:
        if len(local) > 64 or not _LOCAL.fullmatch(local):
            return None
        if "{domain" in self.template and (len(domain) > 253 or not _DOMAIN.fullmatch(domain)):
            return None
        return self.template.format(local=local, domain=domain)
