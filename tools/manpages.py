"""Writes the manual pages and the completions for bash and zsh, from the text of `--help`.

python -m tools.manpages [DIRECTORY]

They go to share/ in DIRECTORY (build/), where an installation below /usr or in a virtual environment
has them: share/man/man1, share/bash-completion/completions, share/zsh/site-functions. The dates of the
pages are that of SOURCE_DATE_EPOCH, and left out if it is not set.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import shtab

from maildir_safe import __version__, _cli
from tools.parsers import command, parser_of
from tools.reference_cli import argument, usage

ROOT = Path(__file__).parents[1]
_DIRECTORIES = {"MAILDIR", "SPOOL", "DIRECTORY", "FOLDER", "MOUNT", "PATH"}
_FILES = {"FILE", "PEM", "BEFORE", "AFTER"}
_COMPLETIONS = {
    "bash": "share/bash-completion/completions/maildir-safe",
    "zsh": "share/zsh/site-functions/_maildir-safe",
}


def files() -> dict[str, str]:
    """All files by their path below the prefix of an installation."""
    made = {"share/man/man1/maildir-safe.1": overview()}
    made |= {f"share/man/man1/maildir-safe-{verb}.1": manual(verb) for verb in _cli.VERBS}
    return made | {path: completion(shell) for shell, path in _COMPLETIONS.items()}


def overview() -> str:
    """The page maildir-safe(1): the verbs and the exit codes."""
    verbs = "".join(
        f".TP\n.BR maildir\\-safe\\-{_text(verb)} (1)\n{_line(what)}\n" for verb, what in _cli.VERBS.items()
    )
    codes = "".join(f".TP\n.B {code}\n{_line(what)}\n" for code, what in _exit_codes())
    return (
        _head("maildir-safe", "Maildir delivery and mail queues by rename alone")
        + ".B maildir\\-safe\n.I VERB\n[\\fIARGUMENT\\fR ...]\n.br\n"
        + ".B maildir\\-safe\n\\-\\-help | \\-\\-version\n"
        + ".SH DESCRIPTION\nEach verb has its own page.\n"
        + f"{verbs}.SH EXIT STATUS\n{codes}"
        + _see(_cli.VERBS)
    )


def manual(verb: str) -> str:
    """The page of a verb."""
    parser = parser_of(verb)
    name = f"maildir-safe-{verb}"
    text = _head(name, _cli.VERBS[verb]) + _synopsis(parser)
    text += f".SH DESCRIPTION\n{_prose(parser.description or '')}"
    options = _arguments(parser)
    if options:
        text += f".SH OPTIONS\n{options}"
    for inner in _actions(parser):
        title = inner.prog.removeprefix("maildir-safe ").upper()
        text += f'.SH "{_text(title)}"\n'
        text += f"{_synopsis(inner)}.PP\n{_prose(inner.description or '')}{_arguments(inner)}"
    if parser.epilog:
        text += f".SH NOTES\n{_prose(parser.epilog)}"
    return text + ".SH EXIT STATUS\nSee\n.BR maildir\\-safe (1).\n" + _see(())


def completion(shell: str) -> str:
    """The completions for a shell."""
    parser = command()
    _complete_files(parser)
    return str(shtab.complete(parser, shell=shell)).rstrip() + "\n"


def write(directory: Path) -> list[str]:
    """Write all files below `directory`, and return their paths in it."""
    for path, text in files().items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text, encoding="utf-8")
    return list(files())


def _head(name: str, what: str) -> str:
    date = os.environ.get("SOURCE_DATE_EPOCH", "")
    day = time.strftime("%Y-%m-%d", time.gmtime(int(date))) if date else ""
    what = _line(re.sub(r"[\s.]+$", "", what))
    return (
        f'.TH {_text(name.upper())} 1 "{day}" "maildir\\-safe {__version__}" "User Commands"\n'
        f".SH NAME\n{_text(name)} \\- {what}\n.SH SYNOPSIS\n"
    )


def _synopsis(parser: argparse.ArgumentParser) -> str:
    words = usage(parser).removeprefix(parser.prog).strip()
    return f".B {_text(parser.prog)}\n{_line(words)}\n"


def _arguments(parser: argparse.ArgumentParser) -> str:
    text = ""
    for action in parser._actions:
        hidden = isinstance(action, (argparse._HelpAction, argparse._SubParsersAction))
        if not hidden and action.help and action.help != argparse.SUPPRESS:
            names = ", ".join(f"\\fB{_text(name)}\\fR" for name in action.option_strings)
            value = f"\\fI{_text(argument(action))}\\fR" if argument(action) else ""
            term = f"{names} {value}".strip()
            text += f".TP\n{term}\n{_line(action.help.replace('%%', '%'))}\n"
    return text


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of a verb's own verbs (`queue ls`)."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def _exit_codes() -> list[tuple[str, str]]:
    page = (ROOT / "docs/reference/exit-codes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|]+)\|", page, re.MULTILINE)
    return [(code, what.split(":")[0].strip().replace("`", "")) for code, what in rows]


def _see(verbs: dict[str, str] | tuple[str, ...]) -> str:
    pages = [f"maildir-safe-{verb}" for verb in sorted(verbs)] or ["maildir-safe"]
    return ".SH SEE ALSO\n" + ",\n".join(f".BR {_text(page)} (1)" for page in pages) + "\n"


def _prose(text: str) -> str:
    """Paragraphs. Indented lines are kept as they are."""
    paragraphs = text.strip("\n").split("\n\n")
    return ".PP\n".join(
        f".nf\n{_lines(paragraph)}\n.fi\n" if paragraph.startswith(" ") else f"{_line(paragraph)}\n"
        for paragraph in paragraphs
    )


def _lines(text: str) -> str:
    return "\n".join(_line(line) for line in text.splitlines())


def _line(text: str) -> str:
    """Text as one input line; none begins with a character that roff takes for a request."""
    text = _text(re.sub(r"\s+", " ", text.strip()))
    return f"\\&{text}" if text[:1] in (".", "'") else text


def _text(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")


def _complete_files(parser: argparse.ArgumentParser) -> None:
    """Mark the arguments that are files or directories."""
    for action in parser._actions:
        name = str(action.metavar or action.dest).upper()
        if name in _DIRECTORIES:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif name in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _complete_files(inner)


if __name__ == "__main__":
    for made in write(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "build"):
        print(made)
