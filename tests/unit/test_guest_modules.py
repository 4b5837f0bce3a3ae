"""What the emulated machine of tests/system/test_guest.py imports: of others, pytest and pytest-timeout."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUEST = ROOT / "tests" / "system" / "test_guest.py"
NOT_THERE = (
    "aiosmtpd", "django", "dns", "flask", "httpx", "hypothesis", "jinja2", "matplotlib", "mfusepy", "nh3",
    "playwright", "prometheus_client", "rich", "starlette", "trustme", "uvicorn", "webencodings",
    "websockets",
)  # fmt: skip
SCRIPT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in sys.argv[1].split(","):
            raise ModuleNotFoundError("No module named " + name, name=name)
sys.meta_path.insert(0, Missing())
import pytest
plugins = ["-p", "no:cacheprovider", "-p", "pytest_timeout"]
sys.exit(pytest.main(["--collect-only", "-q", "-m", "", *plugins, *sys.argv[2:]]))
"""


def files() -> list[str]:
    """The files whose tests run in the guest, as test_guest.py names them."""
    for statement in ast.parse(GUEST.read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "TESTS":
            assert isinstance(statement.value, ast.Dict)
            return [ast.literal_eval(key) for key in statement.value.keys if key is not None]
    raise AssertionError("test_guest.py has no TESTS")


def test_tests_of_the_guest_need_nothing_that_it_lacks() -> None:
    paths = [f"tests/system/{file}" for file in files()]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, ",".join(NOT_THERE), *paths],
        cwd=ROOT, env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for file in files():
        assert f"{file}::" in done.stdout
