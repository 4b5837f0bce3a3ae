"""man, mandoc, bash and zsh accept the manual pages and the completions."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from mta import need

from maildir_safe import _cli
from tools import manpages

pytestmark = pytest.mark.mounts


@pytest.fixture
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    manpages.write(tmp_path)
    return tmp_path / "share"


def test_mandoc_and_man_find_nothing_wrong(share: Path) -> None:
    pages = sorted((share / "man/man1").glob("*.1"))
    assert len(pages) == len(_cli.VERBS) + 1
    for page in pages:
        lint = subprocess.run(
            [need("mandoc"), "-T", "lint", "-W", "warning", page], capture_output=True, text=True, check=False
        )
        assert (lint.returncode, lint.stdout) == (0, "")
        man = subprocess.run(
            [need("man"), "-l", "--warnings=w", page], capture_output=True, text=True, check=True
        )
        assert man.stderr == ""
        assert "SYNOPSIS" in man.stdout


def test_man_finds_a_page_by_its_name(share: Path) -> None:
    """`man maildir-safe-queue` and apropos read the NAME section."""
    done = subprocess.run([need("man"), "-M", share / "man", "-w", "maildir-safe-queue"], capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert done.stdout.strip() == str(share / "man/man1/maildir-safe-queue.1")


@pytest.mark.parametrize(("line", "wanted"), [
    ("maildir-safe wo", "work"), ("maildir-safe serve --lm", "--lmtp"),
    ("maildir-safe deliver --de", "--delivery-id"), ("maildir-safe queue st", "stats"),
])  # fmt: skip
def test_bash_completes(share: Path, line: str, wanted: str) -> None:
    words = line.split()
    script = (
        f"source {share}/bash-completion/completions/maildir-safe\n"
        f"COMP_WORDS=({' '.join(words)}) COMP_CWORD={len(words) - 1}\n"
        "function=$(complete -p maildir-safe | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n"
        f"$function maildir-safe {words[-1]} {words[-2]}\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert wanted in done.stdout.split()


def test_zsh_reads_the_completion(share: Path) -> None:
    script = (
        f"fpath=({share}/zsh/site-functions $fpath); autoload -Uz compinit; compinit -u -D\n"
        "print ${_comps[maildir-safe]}"
    )
    done = subprocess.run([need("zsh"), "-fc", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "_maildir-safe"
    subprocess.run(["zsh", "-n", share / "zsh/site-functions/_maildir-safe"], check=True)
