"""The aliases file (aliases(5)): local names, each with the addresses that its mail goes to.

    root: ann, ops@example.org
    postmaster: root

Only addresses. A name that leads to a program, a file or an include is refused when mail comes for it: to
run a program or to write a file with the rights of whoever calls `sendmail` is how such files were abused.
"""

from __future__ import annotations

from maildir_safe._submission import CONFIGURATION, Rejected
from maildir_safe._submission.mailbox_list import MOST_RECIPIENTS, addresses, complete_address
from maildir_safe._submission.settings import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_LARGEST_FILE = 16 << 20
_DEEPEST = 50
_REFUSED = {"|": "a program", "/": "a file", ":": "an include"}


class Aliases:
    """A file of aliases, as read.

    Args:
        text: the content of the file.
        domain: of local names; completes those without a domain.
        local: the domains, in lower case, whose local parts are looked up.

    Raises:
        ValueError: a line is malformed; the text names it.
    """

    def __init__(self, text: str, domain: str, local: Iterable[str]) -> None:
        self._domain = domain
        self._local = frozenset(local)
        self._lists: dict[str, str] = {}
        name = ""
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            if line[0] in " \t":
                if not name:
                    raise ValueError(f"line {number} continues nothing")
                self._lists[name] += f" {line.strip()}"
                continue
            name, value = _split(line, number)
            if name in self._lists:
                raise ValueError(f"line {number}: {name!a} stands there twice")
            self._lists[name] = value

    def expand(self, recipients: Iterable[str]) -> list[str]:
        """The addresses that recipients lead to, each once. Those without an alias stay as they are.

        A name that leads to itself is an address then, as in sendmail: ``root: root, ann``.

        Raises:
            Rejected: a name leads to a program, a file, an include or to what is no address, or aliases are
                nested too deeply, or lead to too many addresses.
        """
        found: dict[str, None] = {}
        for recipient in recipients:
            self._expand(recipient, found, (), set())
        return list(found)

    def _expand(self, address: str, found: dict[str, None], above: tuple[str, ...], done: set[str]) -> None:
        name, _, domain = address.rpartition("@")
        name = name.lower()
        if domain.lower() not in self._local or name not in self._lists or name in above:
            found[address] = None
            if len(found) > MOST_RECIPIENTS:
                raise Rejected(f"the aliases lead to more than {MOST_RECIPIENTS} recipients")
            return
        if name in done:
            return
        done.add(name)
        if len(above) >= _DEEPEST:
            raise Rejected(f"the aliases are nested more than {_DEEPEST} deep, at {name!a}")
        for target in self._targets(name):
            if target.startswith("\\"):  # no further look-up
                found[complete_address(target[1:], self._domain)] = None
            else:
                self._expand(complete_address(target, self._domain), found, (*above, name), done)

    def _targets(self, name: str) -> list[str]:
        value = self._lists[name]
        targets = []
        for word in _words(value):
            kind = _REFUSED.get(word.lstrip('"')[:1])
            if kind is not None:
                raise Rejected(f"the alias {name!a} leads to {kind}, which is not supported: {word[:60]!a}")
            if word.startswith("\\"):
                targets.append(word)
                continue
            try:
                targets += [address.text for address in addresses(word)]
            except Rejected as error:
                raise Rejected(f"the alias {name!a}: {error}") from error
        if not targets:
            raise Rejected(f"the alias {name!a} leads nowhere")
        return targets


def read(path: str, domain: str, local: Iterable[str]) -> Aliases:
    """Read a file of aliases.

    Raises:
        Rejected: it is missing or malformed (exit code 78).
        TemporaryError: it cannot be read now.
    """
    text = read_file(path, _LARGEST_FILE)
    try:
        return Aliases(text, domain, local)
    except ValueError as error:
        raise Rejected(f"{path}: {error}", CONFIGURATION) from error


def _split(line: str, number: int) -> tuple[str, str]:
    if line.startswith('"'):
        name, quote, rest = line[1:].partition('"')
        rest = rest.lstrip(" \t")
        colon, value = rest[:1], rest[1:]
    else:
        name, colon, value = line.partition(":")
        quote = '"'
    name = name.strip().lower()
    if not (name and quote and colon == ":" and name.isprintable() and name[0] not in "|/:@"):
        raise ValueError(f"line {number} is not 'name: address, address'")
    return name, value.strip()


def _words(value: str) -> list[str]:
    """The parts between commas that are not in quotes."""
    words, start, quoted, at = [], 0, False, 0
    while at < len(value):
        c = value[at]
        if c == "\\" and quoted:
            at += 1
        elif c == '"':
            quoted = not quoted
        elif c == "," and not quoted:
            words.append(value[start:at])
            start = at + 1
        at += 1
    words.append(value[start:])
    return [word.strip() for word in words if word.strip()]
