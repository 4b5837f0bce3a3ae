"""The command's arguments as parsers, for whatever is made from them: reference, manual pages, completions.

`deliver` and `run` parse their few words themselves, since their start-up counts. Here the text of
their `--help` is read instead.
"""

from __future__ import annotations

import argparse
import re
from importlib import import_module
from types import ModuleType
from typing import Any

from maildir_safe import _cli

_OPTION = re.compile(r"^  (-[-\w]+)(?: ([A-Z][A-Z:]*))?(?:\s{2,}(\S.*))?$")


def module_of(verb: str) -> ModuleType:
    """The module of a verb."""
    return import_module(f"maildir_safe._cli.{verb.replace('-', '_')}")


def parser_of(verb: str) -> argparse.ArgumentParser:
    """The parser of a verb. Its description, arguments and help are those of `--help`."""
    module = module_of(verb)
    parser = argparse.ArgumentParser(prog=f"maildir-safe {verb}", description=sentence(_cli.VERBS[verb]))
    _fill(parser, module)
    return parser


def command() -> argparse.ArgumentParser:
    """One parser for the whole command, with the verbs as its subcommands."""
    parser = argparse.ArgumentParser(prog="maildir-safe", description="Deliver, queue and serve mail.")
    parser.add_argument("--version", action="store_true", help="print the version")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for verb, what in _cli.VERBS.items():
        _fill(verbs.add_parser(verb, help=what, description=sentence(what)), module_of(verb))
    return parser


def sentence(text: str) -> str:
    """A phrase as a sentence: `str.capitalize` would spoil names such as Maildir."""
    return f"{text[:1].upper()}{text[1:]}."


def _fill(parser: argparse.ArgumentParser, module: ModuleType) -> None:
    if hasattr(module, "add_arguments"):
        module.add_arguments(parser)
        return
    usage, *paragraphs = module.HELP.split("\n\n")
    parser.usage = re.sub(r"\s+", " ", usage.removeprefix("usage: "))
    prose = [text for text in paragraphs if not text.startswith("  -")]
    parser.description, parser.epilog = prose[0], "\n\n".join(prose[1:])
    for paragraph in paragraphs:
        if paragraph.startswith("  -"):
            for flag, metavar, meaning in _options(paragraph):
                how: dict[str, Any] = {"metavar": metavar} if metavar else {"action": "store_true"}
                parser.add_argument(flag, help=meaning, **how)
    if "MAILDIR" in usage:
        parser.add_argument("maildir", metavar="MAILDIR")
    else:
        parser.add_argument("program", metavar="PROGRAM", nargs=argparse.REMAINDER)


def _options(paragraph: str) -> list[tuple[str, str, str]]:
    """The options in a paragraph of help: flag, name of the value or an empty string, meaning."""
    found: list[tuple[str, str, str]] = []
    for line in paragraph.splitlines():
        match = _OPTION.match(line)
        if match:
            found.append((match[1], match[2] or "", match[3] or ""))
        else:
            flag, metavar, meaning = found[-1]
            found[-1] = (flag, metavar, f"{meaning} {line.strip()}".strip())
    return found
