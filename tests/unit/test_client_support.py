"""What mail clients do not support: found in HTML and CSS, judged by the table, and told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._mail.client_features import DETECTED, LOOKED_AT, used
from maildir_safe._mail.client_support import features, platforms
from maildir_safe._web.app import application
from maildir_safe._web.mailpit_html_check import report
from tools import caniemail

PAGE = (
    '<body><p style="display:flex">x<img src="https://x/a.webp?b" alt=""><style>/* float: left */'
    "@media (prefers-color-scheme: dark) { a:hover { margin-top: 1rem } }</style>"
)


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<video src=x>", {"html-video"}), ("<VIDEO\n>", {"html-video"}), ("<videos>", set()),
        ("video", set()), ("<input type='checkbox'>", {"html-input-checkbox"}),
        ("<a href='#top'>", {"html-anchor-links"}), ("<a href=&#35;top>", {"html-anchor-links"}),
        ("<a href='mailto:x@y'>", {"html-mailto-links"}), ("<img src='a.WEBP'>", {"html-img", "image-webp"}),
        ("<img src='data:image/png;base64,x'>", {"html-img", "image-base64"}),
        ("<b style='DISPLAY : grid'>", {"css-display", "css-display-grid"}),
        ("<b style='padding-left:1px'>", {"css-padding", "css-unit-px"}),
        ("<b style='--margin:1'>", set()),
        ("<style>b{float:left}", {"html-style", "css-float"}),
        ("<style>/* float:left */</style>", {"html-style"}), ("<style>/* float:left", {"html-style"}),
        ("<style>a:hover{}</style>", {"html-style", "css-pseudo-class-hover"}),
        ("<style>a::after{}</style>", {"html-style", "css-pseudo-element-after"}),
        ("<style>@media screen and (orientation:portrait){}</style>",
         {"html-style", "css-at-media", "css-at-media-orientation"}),
        ("<i style='width:calc(1vw + 2px)'>", {"css-width", "css-unit-calc", "css-unit-vw", "css-unit-px"}),
    ],
)  # fmt: skip
def test_what_is_found(page: str, expected: set[str]) -> None:
    assert used(page).counts.keys() == expected


def test_the_table_knows_all_that_can_be_found() -> None:
    table = json.loads(caniemail.TABLE.read_text())
    assert table["features"].keys() == DETECTED
    assert table["license"].startswith("MIT, ")
    assert "MIT License" in caniemail.TABLE.with_suffix(".LICENSE").read_text()


def test_the_tool_keeps_the_last_version_and_its_notes() -> None:
    given = {
        "last_update_date": "2026-06-29 16:42:09 +0000",
        "nicenames": {"family": {"gmail": "Gmail"}, "platform": {"ios": "iOS"}},
        "data": [
            {
                "slug": "css-float", "title": "float", "category": "css", "description": "", "tags": [],
                "stats": {"gmail": {"ios": {"2019-01": "y", "2020 beta": "a #2"}, "android": {}}},
                "notes_by_num": {"1": "old", "2": "new"},
            },
            {"slug": "amp", "title": "AMP", "category": "others", "stats": {}},
        ],
    }  # fmt: skip
    made = caniemail.table(given)
    assert made["updated"] == "2026-06-29"
    assert made["features"].keys() == {"css-float"}
    assert made["features"]["css-float"]["clients"] == {"gmail/ios": "2020_beta a 2"}
    assert made["features"]["css-float"]["notes"] == {"2": "new"}


def test_who_does_not_support_it() -> None:
    found = {one.slug: one for one in features(used(PAGE))}
    assert "Outlook Windows" in found["css-display-flex"].missing
    assert "Outlook Windows" in found["css-display-flex"].names("no")
    assert "Apple Mail iOS" not in found["css-display-flex"].names("no")
    assert "css-float" not in found
    assert features(used("plain")) == []
    assert "Outlook" in platforms()["windows"]


@pytest.mark.parametrize(
    "piece",
    [
        "<", "<a ", "<style>", "<style></style>", "/*", "@media ", "<style>/*", "a-", ":", "a:", "display :",
        "<p a=\"", "<p style='a:b", "*", "\0", "@media (",
    ],
)  # fmt: skip
@pytest.mark.timeout(250)
def test_no_text_takes_a_time_that_grows_with_its_square(piece: str) -> None:
    """Such a pattern would take an hour."""
    assert used("<style>" + piece * (1_000_000 // len(piece))).elements <= 20_000


def test_what_is_looked_at_is_bounded() -> None:
    assert used("<p>" * 30_000).elements == 20_000
    assert used(" " * LOOKED_AT + "<p>").elements == 0


def test_mailpits_report() -> None:
    found = report(PAGE)
    assert found is not None
    assert report(None) is None
    total = found["Total"]
    assert (total["Nodes"], total["Tests"]) == (4, len(DETECTED))
    assert round(total["Supported"] + total["Partial"] + total["Unsupported"]) == 100
    flex = next(one for one in found["Warnings"] if one["Slug"] == "css-display-flex")
    assert flex["URL"] == "https://www.caniemail.com/features/css-display-flex/"
    assert {"Name", "Platform", "Family", "Version", "Support", "NoteNumber"} == flex["Results"][0].keys()
    score = flex["Score"]
    assert (score["Found"], round(sum(score.values()) - score["Found"])) == (1, 100)


def test_the_page_and_the_apis_tell_it(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "m")
    key = maildir.deliver(b"Content-Type: text/html\n\n" + PAGE.encode()).key
    plain = maildir.deliver(b"Subject: x\n\nplain\n").key
    with TestClient(application(maildir)) as client:
        answer = client.get(f"/api/messages/{key}/checks").json()
        hint = next(check for check in answer["checks"] if check["id"] == "clients")
        words = ":hover (Gmail iOS, Gmail Mobile Webmail, Outlook iOS, …)"
        assert (hint["good"], words in hint["text"], "and 3 more" in hint["text"]) == (False, True, True)
        flex = next(one for one in answer["clients"] if one["feature"] == "css-display-flex")
        assert (flex["found"], "Outlook Windows" in flex["unsupported"]) == (1, True)
        assert words in client.get(f"/message/{key}?view=checks").text
        assert client.get(f"/api/v1/message/{key}/html-check").json() == report(PAGE)
        assert client.get(f"/api/messages/{plain}/checks").json()["clients"] == []
        none = client.get(f"/api/v1/message/{plain}/html-check")
        assert (none.status_code, none.text) == (400, "message does not contain HTML")
