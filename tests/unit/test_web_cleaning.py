"""HTML in the frame: what a mail client shows stays, and nothing else does, within bounds."""

from __future__ import annotations

import re
import resource
from html.parser import HTMLParser

import pytest

from maildir_safe._mail.message import Mail
from maildir_safe._mail.summary import Summary, summarize
from maildir_safe._web import cleaner
from maildir_safe._web.cleaning import framed
from tests.html_attacks import ATTACKS, BOMBS

SUMMARY: Summary = summarize(b"Subject: x\n\n")


class Seen(HTMLParser):
    """The elements of a page and their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember."""
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]


def body(page: str) -> str:
    """What is in the body of the cleaned page."""
    return re.sub(r"(?s).*<body[^>]*>|</body></html>$", "", cleaner.clean(page))


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_that_runs_or_connects_passes(name: str, remote: bool) -> None:
    seen = Seen(cleaner.clean(ATTACKS[name].encode("utf-8", "replace").decode(), remote))
    assert not seen.tags & {
        "script",
        "svg",
        "math",
        "iframe",
        "object",
        "embed",
        "form",
        "noscript",
        "template",
    }
    assert "link" not in seen.tags or remote
    for tag, attribute, value in seen.attributes:
        assert not attribute.startswith("on"), (tag, attribute)
        assert not (attribute == "name" and tag != "a"), tag
        if attribute in ("href", "src", "action", "formaction", "background"):
            assert value.startswith(("https://", "http://", "mailto:", "cid:", "data:image/", "//")), value
        if attribute == "rel" and tag == "link":
            assert value == "stylesheet"


def test_the_look_of_a_mail_stays() -> None:
    page = cleaner.clean(
        "<!doctype html><html dir=rtl lang=he><head><title>no</title><style>.a > b{color:red}\n@media"
        " (max-width:600px){.a{width:100%!important}}</style></head><!--[if mso]><body class=mso><![endif]-->"
        '<body bgcolor="#eee" style="margin:0"><table width=600 align=center background="cid:x">'
        '<tr><td style="font:16px Arial;padding:8px" class=a colspan=2><font color=red>hi</font><o:p>!</o:p>'
        "<xml>96</xml><center>c</center></td></tr></table><input type=checkbox id=q><label for=q>menu</label>"
    )
    assert '<html dir="rtl" lang="he">' in page
    assert '<body bgcolor="#eee" style="margin:0">' in page
    assert "<style>.a > b{color:red}\n@media (max-width:600px){.a{width:100%!important}}</style>" in page
    assert '<table width="600" align="center" background="cid:x">' in page
    assert (
        '<td style="font:16px Arial;padding:8px" class="a" colspan="2"><font color="red">hi</font>!' in page
    )
    assert '<input type="checkbox" id="q"><label for="q">menu</label>' in page
    assert "<center>c</center>" in page
    assert "96" not in page
    assert "<title>" not in page


def test_links_lead_out_and_never_to_this_server() -> None:
    shown = body("<a href=/delete>a</a><a href='HTTPS://x/?a=1&b=2' rel=opener>b</a><a href=mailto:c@d>c</a>")
    assert '<a rel="noopener noreferrer">a</a>' in shown
    assert '<a href="HTTPS://x/?a=1&amp;b=2" rel="noopener noreferrer">b</a>' in shown
    assert '<a href="mailto:c@d" rel="noopener noreferrer">c</a>' in shown
    assert "src" not in body("<img src='/api/messages'>")


def test_a_style_sheet_is_linked_only_if_the_network_is_wanted() -> None:
    link = '<link rel="stylesheet" href="https://x/a.css">'
    assert link in cleaner.clean(link, remote=True)
    assert "<link" not in cleaner.clean(link)
    assert (
        "href"
        not in cleaner.clean("<link rel=stylesheet href=/static/inbox.css>", remote=True).split("</head>")[1]
    )


@pytest.mark.parametrize(
    "spelled",
    [
        '<img src="cid:pic@x">', "<img src=CID:pic@x>", "<img src='c&#105;d:pic&#64;x'>",
        "<img src=' cid:pic%40x '>", '<img src="C\tI\nD:pic@x">', "<img src='cid:<pic@x>'>",
        "<img src='cid:%3Cpic@x%3E'>", "<td background='cid:pic@x'>", "<body background=cid:pic@x>",
        "<p style=\"background:URL('cid:pic@x')\">", "<p style='background:url( &quot;Cid:pic@x&quot; )'>",
        "<style>p{background:url(cid:pic@x)}</style>", '<style>p{background:url("CID:pic%40x")}</style>',
    ],
)  # fmt: skip
def test_an_image_of_the_message_in_every_spelling(spelled: str) -> None:
    image = "data:image/png;base64,UE5H"
    page = framed(Mail(SUMMARY, html=f"<table><tr>{spelled}", images={"pic@x": image}))
    assert image in page
    assert "cid:" not in page.lower()


@pytest.mark.parametrize("name", BOMBS)
def test_what_is_too_intricate_is_shown_as_text_within_bounds(name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    page = framed(Mail(SUMMARY, html=f"{BOMBS[name]}the & text"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 8
    # the most of all children so far: another test's may have had more
    assert after.ru_maxrss < max(600 << 10, before.ru_maxrss + 1)
    assert len(page) < 20 << 20
    if name != "grows":
        assert "too intricate" in page
        assert "the &amp; text" in page


def test_a_cleaner_that_fails_shows_no_html(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maildir_safe._web.cleaning.command", lambda *_: ["/bin/false"])
    page = framed(Mail(SUMMARY, html="<b>hi</b><script>"))
    assert "<b>" not in page
    assert "<script>" not in page
    assert "hi" in page
