"""The page's scripts. They share one scope: a name that two of them declare keeps the second from running."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import maildir_safe._web

STATIC = Path(maildir_safe._web.__path__[0]) / "static"
DECLARED = re.compile(r"^(?:async )?(?:let|const|var|function|class) (\w+)", re.MULTILINE)


def test_no_name_is_declared_twice() -> None:
    names = Counter(name for script in STATIC.glob("*.js") for name in DECLARED.findall(script.read_text()))
    assert len(names) > 30
    assert [name for name, count in names.items() if count > 1] == []
