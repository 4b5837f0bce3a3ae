"""The first words of a message's text, for lists."""

from __future__ import annotations

import pytest

from maildir_safe._mail.summary import summarize

HTML = b"Content-Type: text/html\n\n<style>p { color: red }</style><p>Hello <b>Ada</b>,</p><p>bye</p>"
TWO = (
    b"Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>page</p>\n"
    b"--b\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n"
    b"Gr=FC=DFe,\n  Ada\n--b--\n"
)
FILE = (
    b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n"
    b"Content-Disposition: attachment; filename=a.txt\n\nfile\n--b--\n"
)


@pytest.mark.parametrize(
    ("raw", "snippet"),
    [
        (b"Subject: s\n\n  two\n\nlines\t here \n", "two lines here"),
        (b"Subject: s\n\n", ""),
        (b"", ""),
        (HTML, "Hello Ada, bye"),
        (TWO, "Grüße, Ada"),
        (FILE, ""),
        (b"\n\x1b[31mred\x07\n", "[31mred"),
        (b"\n" + b"word " * 1000, "word " * 24 + "..."),
    ],
)
def test_snippet(raw: bytes, snippet: str) -> None:
    assert summarize(raw).snippet == snippet
