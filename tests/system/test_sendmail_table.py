"""The options of sendmail in the documents are what nullmailer, dma, msmtp, Postfix and ours do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.system import sendmail_programs

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "sendmail-options.md"

pytestmark = [
    pytest.mark.mounts,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.getuid() != 0, reason="needs root, for a private mount namespace"),
    pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs Debian's package archive"),
]


def test_the_table_is_what_the_programs_do(tmp_path: Path) -> None:
    for above in (tmp_path, *tmp_path.parents[:-2]):
        above.chmod(0o755)  # dma and nullmailer change their user
    try:
        found = sendmail_programs.table(tmp_path)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the packages cannot be downloaded: {error.stderr}")
    assert {row["ours"] for row in found.values()} == {"queued"}
    assert sendmail_programs.page(found) == PAGE.read_text()
