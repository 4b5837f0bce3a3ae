"""Maps an address to the Maildirs it may mean, best first. Pure: it looks nothing up.

An address can never name a path outside the template. A mapped part contains no ``/``, no ``\\``
(a separator on SMB), no ``@`` (Coda expands ``@sys``) and no two dots in a row, and does not begin
or end with a dot or a space. All other characters of a local part (RFC 5321 4.1.2, RFC 6531) may
appear in the name of a mailbox: ``o'brien``, ``jürgen``. ``"bob"`` means ``bob``.

Upper case is folded. A character that is not ASCII never folds to ASCII: the Kelvin sign is not a
``k``, and so cannot reach another's mailbox. Names are in Unicode's composed form (NFC). A domain
is looked up as it is written and in its other forms, with A-labels (``xn--``) and U-labels.
"""

from __future__ import annotations

import re
import string
import unicodedata
from typing import TYPE_CHECKING, Protocol

from maildir_safe._smtp.protocol.replies import NO_MAILBOX, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_LOCAL = re.compile(r"[a-z0-9!#$%&'*+=?^_`{|}~ -]")  # allowed in a mailbox's name, besides dots
_LABEL = re.compile(r"[a-z0-9_-]")
_A_LABEL = "xn--"
_LONGEST = 200  # bytes of a directory's name


class Routing(Protocol):
    """Decides where mail goes.

    Attributes:
        test_mode: every address is accepted, and the mail is not private. The server may also
            offer what only tests of senders need (any password, DSN).
    """

    test_mode: bool

    def candidates(self, address: str) -> list[str]:
        """Paths of Maildirs for `address`, best first. Raises `Refused` if there cannot be one."""


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
    """One Maildir per address, by a template. Only Maildirs that exist accept mail.

    Upper case is folded: in domains by rule, in local parts because every mail system does so.
    ``bob+tag`` means its own Maildir if that exists, and ``bob`` otherwise (RFC 5233).

    Args:
        template: an absolute path that contains ``{local}`` and optionally ``{domain}``, for example
            ``/mail/{domain}/{local}``.
        postmaster: the address that gets mail for ``postmaster`` (always accepted, RFC 5321 4.5.1)
            if ``postmaster`` has no Maildir of its own.

    Raises:
        ValueError: the template or the postmaster's address is invalid.
    """

    test_mode = False

    def __init__(self, template: str, postmaster: str | None = None) -> None:
        _check_template("--map", template, absolute=True)
        self.template = template
        self._postmaster: str | None = None
        if postmaster is not None:
            try:
                self.candidates(postmaster)
            except Refused:
                raise ValueError(f"--postmaster {postmaster}: not an address of this server") from None
            self._postmaster = postmaster

    def adopt(self, other: MailboxMap) -> None:
        """Take over the template and the postmaster of another map, from the next address on."""
        self.template, self._postmaster = other.template, other._postmaster

    def candidates(self, address: str) -> list[str]:
        """Paths for `address`, best first. Raises `Refused` (550 5.1.1) if no mailbox can have that name."""
        local, _, domain = address.rpartition("@") if "@" in address else (address, "", "")
        name = _mailbox_name(local)
        names = [name, name.partition("+")[0]] if "+" in name else [name]
        domains = _domain_forms(domain) if "{domain" in self.template else [""]
        paths = [self.template.format(local=name, domain=form) for name in names if name for form in domains]
        if names[-1] == "postmaster" and self._postmaster is not None:
            paths += self.candidates(self._postmaster)
        if not paths:
            raise Refused(NO_MAILBOX)
        return paths


class SplitMap:
    """Test mode: each address has its own Maildir below one directory, made when it first gets mail.

    The names are those of `MailboxMap`, except that ``bob+tag`` has its own Maildir and that a domain is
    written in its ASCII form. An address without a domain belongs to ``localhost``.

    Args:
        root: the absolute path of the directory.
        below: the paths of Maildirs below it, such as ``{domain}/{local}``.

    Raises:
        ValueError: the template is invalid.
    """

    test_mode = True

    def __init__(self, root: str, below: str) -> None:
        _check_template("--split", below, absolute=False)
        self.root, self.below = root, below

    def candidates(self, address: str) -> list[str]:
        """The one path for `address`. Raises `Refused` (550 5.1.1) if no mailbox can have that name."""
        local, _, domain = address.rpartition("@") if "@" in address else (address, "", "localhost")
        name, forms = _mailbox_name(local), _domain_forms(domain)
        if not name or not forms:
            raise Refused(NO_MAILBOX)
        ascii_form = ".".join(map(_a_label, forms[0].split(".")))
        where = self.below.format(local=name, domain=ascii_form)
        if any(len(part.encode()) > _LONGEST for part in where.split("/")):
            raise Refused(NO_MAILBOX)
        return [f"{self.root.rstrip('/')}/{where}"]


def _check_template(option: str, template: str, absolute: bool) -> None:
    """Raise ValueError if this is not a template of paths."""
    try:
        fields = {field for _, field, _, _ in string.Formatter().parse(template) if field is not None}
    except ValueError as error:
        raise ValueError(f"{option} {template}: {error}") from None
    if template.startswith("/") != absolute or "local" not in fields or not fields <= {"local", "domain"}:
        kind = "an absolute" if absolute else "a relative"
        raise ValueError(f"{option} {template}: must be {kind} path with {{local}} and optionally {{domain}}")
    if not absolute and any(not part or part.startswith(".") for part in template.split("/")):
        raise ValueError(f"{option} {template}: no part of the path may be empty or begin with a dot")


def _mailbox_name(local: str) -> str:
    """The name of the mailbox that a local part means; ``""`` if there cannot be one."""
    quoted = _QUOTED.fullmatch(local)
    if quoted:
        local = re.sub(r"\\(.)", r"\1", quoted[1])
    name = _folded(local)
    if not name or len(name) > 64 or ".." in name or name[0] in ". " or name[-1] in ". ":
        return ""
    return name if all(c == "." or _LOCAL.match(c) or _is_word(c) for c in name) else ""


def _domain_forms(domain: str) -> list[str]:
    """A domain as it is written, and in its other forms; empty if it is not a valid domain."""
    domain = _folded(domain)
    labels = domain.split(".")
    if len(domain) > 253 or not all(map(_is_label, labels)):
        return []
    forms = [labels, [_a_label(label) for label in labels], [_u_label(label) for label in labels]]
    return list(dict.fromkeys(".".join(form) for form in forms))


def _is_label(label: str) -> bool:
    return bool(label) and label.strip("-") == label and all(_LABEL.match(c) or _is_word(c) for c in label)


def _a_label(label: str) -> str:
    return label if label.isascii() else _A_LABEL + label.encode("punycode").decode()


def _u_label(label: str) -> str:
    if not label.startswith(_A_LABEL):
        return label
    try:
        decoded = label[len(_A_LABEL) :].encode().decode("punycode")
    except (UnicodeError, ValueError, OverflowError):
        return label
    honest = _folded(decoded) == decoded and _is_label(decoded) and _a_label(decoded) == label
    return decoded if honest else label


def _folded(text: str) -> str:
    """`text` in lower case and NFC; ``""`` if a character that is not ASCII would become ASCII."""
    folded = "".join(_lower(text))
    composed = unicodedata.normalize("NFC", folded)
    beyond = [c for c in text if not c.isascii()]
    if any(unicodedata.normalize("NFC", c)[0].isascii() or c.lower()[0].isascii() for c in beyond):
        return ""
    return composed


def _lower(text: str) -> Iterable[str]:
    for c in text:
        lower = c.lower()
        yield lower if len(lower) == 1 else c


def _is_word(c: str) -> bool:
    """Whether `c` is a letter, mark or digit that is not ASCII."""
    return not c.isascii() and unicodedata.category(c)[0] in "LMN"
