"""A release: complete, the same bytes from each build, and it works where it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from built import ROOT, built, copied, tracked

from maildir_safe import __version__, _cli

PYTHONS = [sys.executable, *sorted(map(str, Path.home().glob(".pyenv/versions/3.1[1-9]*/bin/python")))]


def build_in(place: Path) -> list[Path]:
    return built(copied(place / "tree"), place / "dist")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    sdist, wheel = sorted(build_in(tmp_path_factory.mktemp("one")), key=lambda path: path.suffix != ".gz")
    return sdist, wheel


def test_two_builds_are_the_same_bytes(release: tuple[Path, Path], tmp_path: Path) -> None:
    """At another time, in another directory, with another umask."""
    before = os.umask(0o077)
    try:
        again = build_in(tmp_path)
    finally:
        os.umask(before)
    assert {path.name: path.read_bytes() for path in again} == {p.name: p.read_bytes() for p in release}


def test_the_version_comes_from_one_place(release: tuple[Path, Path]) -> None:
    assert [path.name for path in release] == [
        f"maildir_safe-{__version__}.tar.gz", f"maildir_safe-{__version__}-py3-none-any.whl",
    ]  # fmt: skip
    assert __version__ not in (ROOT / "pyproject.toml").read_text()


def test_the_sdist_has_every_file_and_the_wheel_the_whole_package(release: tuple[Path, Path]) -> None:
    sdist, wheel = release
    with tarfile.open(sdist) as tar:
        there = {name.partition("/")[2] for name in tar.getnames()}
    assert set(tracked()) - there - {".gitignore"} == set()
    installed = set(zipfile.ZipFile(wheel).namelist())
    package = {name for name in tracked() if name.startswith("maildir_safe/")}
    assert package - installed == set()
    assert {name for name in package if "/templates/" in name or "/static/" in name} != set()


def test_the_wheel_has_manual_pages_completions_and_units(release: tuple[Path, Path]) -> None:
    data = {name.partition(".data/data/")[2] for name in zipfile.ZipFile(release[1]).namelist()}
    wanted = {f"share/man/man1/maildir-safe-{verb}.1" for verb in _cli.VERBS}
    wanted |= {"share/man/man1/maildir-safe.1", "share/bash-completion/completions/maildir-safe"}
    wanted |= {f"share/maildir-safe/systemd/{unit.name}" for unit in (ROOT / "packaging/systemd").iterdir()}
    assert wanted | {"share/zsh/site-functions/_maildir-safe"} <= data


@pytest.mark.parametrize("python", PYTHONS)
def test_the_wheel_works_where_nothing_else_is(
    python: str, release: tuple[Path, Path], tmp_path: Path
) -> None:
    """Without any dependency: `--help` of every verb, a delivery, and the manual page below the prefix."""
    venv = tmp_path / "venv"
    subprocess.run([python, "-m", "venv", venv], check=True)
    pip = [venv / "bin/pip", "install", "-q", "--no-index", "--disable-pip-version-check", release[1]]
    subprocess.run(pip, check=True)
    command = venv / "bin/maildir-safe"

    def run(*words: str, message: str = "") -> str:
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            [command, *words],
            input=message,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=env,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("--version") == f"maildir-safe {__version__}\n"
    assert all(f"maildir-safe {verb}" in run(verb, "--help") for verb in _cli.VERBS)
    run("deliver", "Maildir", message="Subject: hello\n\nworld\n")
    assert "hello" in run("ls", "Maildir")
    assert (venv / "share/man/man1/maildir-safe-deliver.1").is_file()
