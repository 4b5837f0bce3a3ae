"""The manual pages and completions have every verb and every option, in the words of `--help`."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from maildir_safe import _cli
from maildir_safe._cli import deliver, run
from tools import manpages
from tools.parsers import command, parser_of


def options(parser: argparse.ArgumentParser) -> set[str]:
    """The long and short options of a parser, and of those below it."""
    found = {flag for action in parser._actions for flag in action.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {flag for inner in action.choices.values() for flag in options(inner)}
    return found - {"-h", "--help"}


def plain(roff: str) -> str:
    return re.sub(r"\\f[BIR]", "", roff).replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")


@pytest.mark.parametrize("verb", _cli.VERBS)
def test_every_verb_has_a_page_with_every_option(verb: str) -> None:
    text = plain(manpages.files()[f"share/man/man1/maildir-safe-{verb}.1"])
    lacking = {
        flag for flag in options(parser_of(verb)) if not re.search(rf"(?m)(^|, | ){flag}(,| |$)", text)
    }
    assert lacking == set()
    assert f"maildir-safe-{verb} - " in text


@pytest.mark.parametrize(("verb", "module"), [("deliver", deliver), ("run", run)])
def test_the_verbs_without_argparse_have_the_options_of_their_help(verb: str, module: object) -> None:
    told = set(re.findall(r"(?m)^  (--?[a-z][-a-z]*)", module.HELP))  # type: ignore[attr-defined]
    assert len(told) > 3
    assert options(parser_of(verb)) == told
    page = plain(manpages.manual(verb))
    words = re.findall(r"[A-Za-z]{4,}", module.HELP.partition("\n\n")[2])  # type: ignore[attr-defined]
    assert [word for word in words if word not in page] == []


def test_the_overview_has_all_verbs_and_exit_codes() -> None:
    text = plain(manpages.overview())
    assert [verb for verb in _cli.VERBS if f"maildir-safe-{verb} (1)" not in text] == []
    codes = {_cli.TEMPORARY, _cli.REFUSED, _cli.USAGE, _cli.WRONG, _cli.INTERRUPTED}
    assert [code for code in codes if f"\n.B {code}\n" not in text] == []


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completions_have_every_option(shell: str) -> None:
    text = manpages.completion(shell)
    assert [flag for flag in options(command()) if flag not in text] == []


def test_words_that_roff_would_execute_are_text() -> None:
    assert manpages.manual("deliver").count("\n.SH ") >= 5
    parser = argparse.ArgumentParser(prog="x", description="'quoted first\n\n.so /etc/passwd\n\na \\n b")
    text = manpages._prose(parser.description or "")
    assert "\\&'quoted first" in text
    assert "\\&.so /etc/passwd" in text
    assert "a \\en b" in text


def test_pages_are_dated_by_the_epoch_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    written = manpages.write(tmp_path)
    assert sorted(written) == sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert '1 "2023-11-14"' in (tmp_path / "share/man/man1/maildir-safe.1").read_text()
