"""What the package needs: Linux, and for mail no other package than itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXTRAS = """
    aiosmtpd aiosmtplib starlette uvicorn jinja2 prometheus_client trustme rich matplotlib cryptography
    attrs hypothesis pytest dns
"""
ALONE = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS.split()!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from maildir_safe._cli import main
sys.exit(main(sys.argv[1:]))
"""


def alone(*words: str, message: bytes = b"") -> tuple[int, str, str]:
    """Run the command as where only this package is installed: exit code, output, errors."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *words], input=message, capture_output=True, check=False, timeout=60
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_elsewhere_than_on_linux_the_import_says_so() -> None:
    script = "import sys; sys.platform = 'darwin'; import maildir_safe"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert b"ImportError: maildir_safe runs on Linux only, not on darwin" in done.stderr


def test_mail_is_delivered_and_read_without_any_extra(tmp_path: Path) -> None:
    box = str(tmp_path / "box")
    assert alone("deliver", box, message=b"Subject: hello\n\nworld\n") == (0, "", "")
    code, listed, _ = alone("ls", box)
    assert (code, "hello" in listed) == (0, True)
    code, shown, _ = alone("show", box, listed.split()[0])
    assert (code, "world" in shown) == (0, True)
    assert alone("clean", box)[0] == 0


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["serve", "BOX"], "server"),
        (["bench", "--html", "r.html", "BOX"], "bench"),
        (["work", "BOX", "--to", "mx:"], "relay"),
    ],
)
def test_what_needs_an_extra_names_it(words: list[str], extra: str, tmp_path: Path) -> None:
    code, _, says = alone(*(word.replace("BOX", str(tmp_path)) for word in words))
    assert code != 0
    assert f"maildir-safe[{extra}]" in says
