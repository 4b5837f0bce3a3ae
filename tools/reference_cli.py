"""The commands, from the parsers that read them: docs/reference/cli.md."""

from __future__ import annotations

import argparse
import re

from maildir_safe import _cli
from tools.parsers import module_of, parser_of

INTRODUCTION = """\
# Commands

`maildir-safe VERB --help` prints what stands here. Exit codes of all verbs are in
[one table](exit-codes.md).

| verb | what it does |
|---|---|
"""


def page() -> str:
    """The page in Markdown."""
    rows = "".join(f"| [`{verb}`](#{_anchor(verb)}) | {_cell(what)} |\n" for verb, what in _cli.VERBS.items())
    return INTRODUCTION + rows + "".join(_verb(verb) for verb in _cli.VERBS)


def _anchor(verb: str) -> str:
    return f"maildir-safe-{verb}"


def _verb(verb: str) -> str:
    module = module_of(verb)
    title = f"\n## `maildir-safe {verb}`\n\n"
    if not hasattr(module, "add_arguments"):  # `deliver` reads its words itself: its start-up counts
        return f"{title}```text\n{module.HELP}```\n"
    return title + _parser(parser_of(verb), 3)


def _parser(parser: argparse.ArgumentParser, level: int) -> str:
    text = f"{_paragraph(parser.description)}\n```text\n{usage(parser)}\n```\n"
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    rows = [
        f"| {_names(action)} | {_cell(action.help or '')} |\n"
        for action in actions
        if action.help != argparse.SUPPRESS and not isinstance(action, argparse._SubParsersAction)
    ]
    if any(not row.endswith("|  |\n") for row in rows):
        text += "\n| argument | meaning |\n|---|---|\n" + "".join(rows)
    for action in actions:
        if isinstance(action, argparse._SubParsersAction):
            abouts = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, inner in action.choices.items():
                inner.description = inner.description or abouts.get(name, "").capitalize() + "."
                text += f"\n{'#' * level} `{inner.prog}`\n\n{_parser(inner, level + 1)}"
    return text


def usage(parser: argparse.ArgumentParser) -> str:
    """The usage of a command on one line, the same with every version of Python."""
    if parser.usage:
        return parser.usage
    words = [parser.prog]
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction) or action.help == argparse.SUPPRESS:
            continue
        word = _word(action)
        words.append(word if action.required and action.option_strings else _optional(action, word))
    return " ".join(words)


def _optional(action: argparse.Action, word: str) -> str:
    if action.option_strings or action.nargs == "?":
        return f"[{word}]"
    return f"{word} ..." if action.nargs in ("+", "*", argparse.REMAINDER) else word


def _word(action: argparse.Action) -> str:
    value = argument(action)
    return f"{action.option_strings[-1]} {value}".strip() if action.option_strings else value


def argument(action: argparse.Action) -> str:
    """The name of an argument's value in its help; `""` for a flag."""
    if action.nargs == 0:
        return ""
    value = str(action.metavar or (action.dest.upper() if action.option_strings else action.dest))
    return f"[{value}]" if action.nargs == "?" and action.option_strings else value


def _names(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{argument(action)}`"
    value = argument(action)
    return ", ".join(f"`{f'{option} {value}'.strip()}`" for option in action.option_strings)


def _paragraph(text: str | None) -> str:
    return re.sub(r"(?<=\S)\n(?=\S)", " ", (text or "").strip()) + "\n"


def _cell(text: str) -> str:
    text = re.sub(r"\s+", " ", text).replace("|", "\\|").replace("%%", "%").replace("<", "&lt;")
    return re.sub(r"'(maildir-safe [^']+|/[^']+)'", r"`\1`", text)
