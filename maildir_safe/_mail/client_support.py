"""Which mail clients do not support what a message uses, by the data of caniemail.com.

The table `client_support.json` is made by `tools/caniemail.py`, and has the version of each client that was
tested last. Its licence is MIT (`client_support.LICENSE`).
"""

from __future__ import annotations

import functools
import json
import pkgutil
from dataclasses import dataclass
from typing import Any

from maildir_safe._mail.client_features import Uses

MAJOR = ("apple-mail", "gmail", "outlook", "yahoo")
"""The families of clients that count for the hint: those that most recipients have."""
_SUPPORT = {"y": "yes", "n": "no", "a": "partial"}


@dataclass(frozen=True)
class ClientResult:
    """What one client does with a feature.

    Attributes:
        family, platform: as in the table, such as ``outlook`` and ``windows``.
        name: for people, such as ``Outlook Windows``.
        version: the version that was tested, or the month of the test.
        support: ``yes``, ``no`` or ``partial``.
        notes: the numbers of the notes that say what is partial.
    """

    family: str
    platform: str
    name: str
    version: str
    support: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Feature:
    """A feature that a message uses.

    Attributes:
        slug, title, description, category, tags: as caniemail.com has them.
        found: how often it is used.
        results: of all clients that were tested.
        notes: texts by number.
    """

    slug: str
    title: str
    description: str
    category: str
    tags: list[str]
    found: int
    results: list[ClientResult]
    notes: dict[str, str]

    @property
    def url(self) -> str:
        """Its page."""
        return f"https://www.caniemail.com/features/{self.slug}/"

    def names(self, support: str) -> list[str]:
        """The clients whose support is this."""
        return [one.name for one in self.results if one.support == support]

    def share(self, support: str) -> float:
        """The clients whose support is this, in per cent of all."""
        return 100 * len(self.names(support)) / len(self.results) if self.results else 0.0

    @property
    def missing(self) -> list[str]:
        """The clients of the major families that do not support it."""
        return [one.name for one in self.results if one.support == "no" and one.family in MAJOR]


def features(uses: Uses) -> list[Feature]:
    """The features of a message that some client does not support, or not all of; the worst first."""
    known = _table()["features"]
    found = [_feature(slug, known[slug], number) for slug, number in uses.counts.items() if slug in known]
    wanting = [one for one in found if one.share("yes") < 100]
    return sorted(wanting, key=lambda one: (-len(one.missing), -one.share("no"), -one.found, one.slug))


def platforms() -> dict[str, list[str]]:
    """The families of clients on each platform, for people."""
    found: dict[str, set[str]] = {}
    for feature in _table()["features"].values():
        for client in feature["clients"]:
            family, _, platform = client.partition("/")
            found.setdefault(platform, set()).add(_table()["families"].get(family, family))
    return {platform: sorted(found[platform]) for platform in sorted(found)}


def _feature(slug: str, about: dict[str, Any], number: int) -> Feature:
    results = [
        result for client, said in sorted(about["clients"].items()) if (result := _result(client, said))
    ]
    texts = (about["title"], about["description"], about["category"], about["tags"])
    return Feature(slug, *texts, number, results, about["notes"])


def _result(client: str, said: str) -> ClientResult | None:
    """None: nobody knows."""
    family, _, platform = client.partition("/")
    version, answer, *notes = said.split()
    if answer not in _SUPPORT:
        return None
    table = _table()
    name = f"{table['families'].get(family, family)} {table['platforms'].get(platform, platform)}"
    return ClientResult(family, platform, name, version.replace("_", " "), _SUPPORT[answer], tuple(notes))


@functools.cache
def _table() -> dict[str, Any]:
    data = pkgutil.get_data("maildir_safe._mail", "client_support.json")
    assert data is not None
    table: dict[str, Any] = json.loads(data)
    return table
