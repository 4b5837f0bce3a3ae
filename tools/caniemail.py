"""Makes the table of what mail clients support from the data of caniemail.com (MIT).

python -m tools.caniemail DATA.JSON

DATA.JSON is https://www.caniemail.com/api/data.json, whose source is the repository hteumeuleu/caniemail. Of
each client only the version that was tested last is kept, and only features that
`maildir_safe._mail.client_features` can find.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from maildir_safe._mail.client_features import DETECTED

TABLE = Path(__file__).parents[1] / "maildir_safe/_mail/client_support.json"


def table(data: dict[str, Any]) -> dict[str, Any]:
    """The table, from the data of caniemail.com."""
    names = data["nicenames"]
    return {
        "source": "https://www.caniemail.com/",
        "license": "MIT, Copyright (c) 2019 Rémi Parmentier; see client_support.LICENSE",
        "updated": data["last_update_date"][:10],
        "families": names["family"],
        "platforms": names["platform"],
        "features": {one["slug"]: _feature(one) for one in data["data"] if one["slug"] in DETECTED},
    }


def _feature(given: dict[str, Any]) -> dict[str, Any]:
    clients = {
        f"{family}/{platform}": _last(versions)
        for family, platforms in given["stats"].items()
        for platform, versions in platforms.items()
        if versions
    }
    numbers = {number for said in clients.values() for number in said.split()[2:]}
    notes = given.get("notes_by_num") or {}
    return {
        "title": given["title"],
        "description": given.get("description") or "",
        "category": given["category"],
        "tags": given.get("tags") or [],
        "notes": {number: text for number, text in notes.items() if number in numbers},
        "clients": clients,
    }


def _last(versions: dict[str, str]) -> str:
    """The version that was tested last, ``y``, ``n``, ``a`` or ``u``, and the numbers of its notes."""
    version, said = [*versions.items()][-1]
    answer, *notes = said.replace("#", " ").split()
    return " ".join([version.replace(" ", "_"), answer, *notes])


if __name__ == "__main__":
    made = table(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    TABLE.write_text(
        json.dumps(made, ensure_ascii=False, separators=(",", ":"), sort_keys=True) + "\n", encoding="utf-8"
    )
    print(f"{TABLE.name}: {len(made['features'])} features, of {made['updated']}")
