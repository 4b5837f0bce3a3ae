"""Each name of `maildir_safe.__all__` is there and is loaded when it is asked for; no other is public."""

from __future__ import annotations

import subprocess
import sys

import pytest

import maildir_safe


def test_every_public_name_has_a_home_and_no_other() -> None:
    assert {*maildir_safe.__all__} == {*maildir_safe._HOMES, "__version__"}
    assert dir(maildir_safe) == sorted(maildir_safe.__all__)


@pytest.mark.parametrize("name", maildir_safe.__all__)
def test_it_can_be_imported(name: str) -> None:
    assert getattr(maildir_safe, name)


def test_a_star_import_gives_all_of_it() -> None:
    names: dict[str, object] = {}
    exec("from maildir_safe import *", names)
    assert names.keys() - {"__builtins__"} == {*maildir_safe.__all__}


def test_an_import_of_the_package_loads_none_of_it() -> None:
    script = "import sys, maildir_safe; print(*[name for name in sys.modules if 'maildir_safe.' in name])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
