"""The short way of importing our own modules: the same modules, and importlib's wherever it is not sure."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import maildir_safe

OURS = "maildir_safe.errors", "maildir_safe._queue", "maildir_safe._queue.store.writer"
INSTALL = "from maildir_safe._cli.quick_imports import install; install('maildir_safe', {directory!r})"
LOOK = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    spec = module.__spec__
    found[name] = [
        type(module.__loader__).__name__, module.__name__, module.__package__, module.__file__,
        module.__cached__, list(getattr(module, "__path__", [])), spec.origin, spec.cached, spec.parent,
    ]
print(json.dumps(found))
"""


@pytest.fixture(name="package")
def _package(tmp_path: Path) -> Path:
    """A copy of the package, which a test may change."""
    home = Path(maildir_safe.__file__).parent
    return shutil.copytree(home, tmp_path / "maildir_safe", ignore=shutil.ignore_patterns("__pycache__"))


def python(package: Path, code: str, *words: str, options: tuple[str, ...] = ()) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    whole = f"import sys; sys.path.insert(0, {str(package.parent)!r})\n{code}"
    command = [sys.executable, *options, "-c", whole, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def loaders(package: Path, *names: str, options: tuple[str, ...] = ()) -> dict[str, list[object]]:
    code = INSTALL.format(directory=str(package)) + LOOK
    found: dict[str, list[object]] = json.loads(python(package, code, *names, options=options))
    return found


def test_the_modules_are_as_importlib_makes_them(package: Path) -> None:
    theirs = json.loads(python(package, LOOK, *OURS))
    assert {what[0] for what in theirs.values()} == {"SourceFileLoader"}
    ours = loaders(package, *OURS)  # the run before has written the .pyc files
    assert {what[0] for what in ours.values()} == {"_Loader"}
    assert [what[1:] for what in ours.values()] == [what[1:] for what in theirs.values()]


def test_what_has_no_compiled_file_is_left_to_importlib(package: Path) -> None:
    assert loaders(package, "maildir_safe._names")["maildir_safe._names"][0] == "SourceFileLoader"
    assert loaders(package, "maildir_safe._names")["maildir_safe._names"][0] == "_Loader"


def test_optimised_code_is_left_to_importlib(package: Path) -> None:
    loaders(package, *OURS)
    assert {what[0] for what in loaders(package, *OURS, options=("-O",)).values()} == {"SourceFileLoader"}


@pytest.mark.parametrize("seconds", [0, 3600, -3600])
def test_a_changed_source_is_compiled_again(package: Path, seconds: int) -> None:
    loaders(package, *OURS)
    source = package / "errors.py"
    about = source.stat()
    source.write_text(source.read_text() + "NEW = 'new'\n")
    os.utime(source, (about.st_atime, about.st_mtime + seconds))
    code = INSTALL.format(directory=str(package)) + "\nfrom maildir_safe.errors import NEW; print(NEW)"
    assert python(package, code) == "new\n"


@pytest.mark.parametrize("damage", ["other magic number", "empty", "checked by its hash"])
def test_another_compiled_file_is_left_to_importlib(package: Path, damage: str) -> None:
    loaders(package, "maildir_safe._names")
    (compiled,) = (package / "__pycache__").glob("_names.*.pyc")
    data = compiled.read_bytes()
    flag = b"\3\0\0\0"
    compiled.write_bytes(
        {
            "other magic number": b"\1\2\3\4" + data[4:],
            "empty": b"",
            "checked by its hash": data[:4] + flag + b"wrong it" + data[16:],
        }[damage]
    )
    assert loaders(package, "maildir_safe._names")["maildir_safe._names"][0] == "SourceFileLoader"


@pytest.mark.usefixtures("package")
def test_the_command_takes_the_short_way(tmp_path: Path) -> None:
    code = (
        "import os\n"
        "def leave(code):\n"
        "    loader = sys.modules['maildir_safe._delivery.pipeline'].__loader__\n"
        "    print(code, type(loader).__name__, file=sys.stderr)\n"
        "    raise SystemExit\n"
        "os._exit = leave; sys.argv[0] = 'maildir-safe'; from maildir_safe._cli import main; main()"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    said = []
    for _ in range(2):
        whole = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"
        command = [sys.executable, "-c", whole, "deliver", str(tmp_path / "Maildir")]
        done = subprocess.run(command, env=environment, input=b"A: b\n\nc\n", capture_output=True, check=True)
        said.append(done.stderr.decode().split())
    assert said == [["0", "SourceFileLoader"], ["0", "_Loader"]]
    assert len(list((tmp_path / "Maildir/new").iterdir())) == 2
