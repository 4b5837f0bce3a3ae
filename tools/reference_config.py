"""The settings of `serve`, from their dataclass: docs/reference/configuration.md."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, Field, fields
from typing import Any

from maildir_safe._smtp.server.settings import Settings
from tools.docstrings import items, markdown, sections

INTRODUCTION = """\
# Configuration file

`maildir-safe serve --config serve.toml` reads its settings from a TOML file. Each key is the name
of a flag without its dashes (`max-size` and `max_size` are the same key); `web-hosts` is `--web-host`, which
may be repeated. A flag on the command line wins. An unknown key, and a value of the wrong type, end the
command with a message that names both.

```toml
# serve.toml
smtp = ["0.0.0.0:25", "[::]:25"]
map = "/srv/mail/{domain}/{local}"
postmaster = "admin@example.com"
tls = "/etc/ssl/private/mail.pem"
max-size = 50_000_000
```

| key | type | default | meaning |
|---|---|---|---|
"""

_TYPES = {
    "str": "string", "int": "integer", "float": "number", "bool": "boolean", "list[str]": "list of strings",
}  # fmt: skip
_DEFAULTS = {"hostname": "the name of this host", "web": '`"127.0.0.1:8025"`; none with `map` or `queue`'}


def page() -> str:
    """The page in Markdown."""
    meanings = {name: text for names, text in items(sections(inspect.getdoc(Settings) or "")["Attributes"])
                for name in names}  # fmt: skip
    return INTRODUCTION + "".join(_row(field, meanings[field.name]) for field in fields(Settings))


def _row(field: Field[Any], meaning: str) -> str:
    kind = _TYPES.get(str(field.type).removesuffix(" | None"), str(field.type))
    meaning = markdown(meaning[:1].upper() + meaning[1:])
    return f"| `{field.name.replace('_', '-')}` | {kind} | {_default(field)} | {meaning} |\n"


def _default(field: Field[Any]) -> str:
    if field.name in _DEFAULTS:
        return _DEFAULTS[field.name]
    if field.name == "smtp":
        return '`["127.0.0.1:1025"]`, unless `lmtp` is set'
    value = field.default if field.default_factory is MISSING else field.default_factory()
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"
