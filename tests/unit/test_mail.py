"""Reading a stranger's message: one reader for page, API, wait, fixture, `ls` and `show`."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings, strategies as st

from maildir_safe._mail import charsets
from maildir_safe._mail.addresses import Mailbox, mailboxes
from maildir_safe._mail.charsets import decode
from maildir_safe._mail.fields import read_fields
from maildir_safe._mail.html import plain_text
from maildir_safe._mail.message import Mail, find_part, read_mail
from maildir_safe._mail.parameters import value_and_parameters
from maildir_safe._mail.structure import Structure
from maildir_safe._mail.summary import summarize
from maildir_safe._mail.transfer import coding_of, decoded
from maildir_safe._mail.words import field_text

_MIB = 1 << 20
MIXED = b"Content-Type: multipart/mixed; boundary=x\n\n"


# Header text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("Grüße".encode(), "Grüße"),
        ("Grüße".encode("latin-1"), "Grüße"),
        ("ü ".encode() + b"\xfc =?utf-8?q?=C3=BC?= x", "ü ü ü x"),
        (b"=?utf-8*de?Q?=C3=A4?= x", "ä x"),
        (b"=?x-nobody-knows?q?=C3=A4=E4?= and =?utf-8?b?w6Q=?=", "ää and ä"),
        (b"=?utf-8?b?w6Q=w6Q=?=", "ää"),
        (b"=?utf-8?b?w6Q?=", "ä"),
        (b"=?utf-8?b?w6Q!!!?= =?utf-8?q?good?=", "ägood"),
        (b"=?utf-8?q?=C3?= =?utf-8?q?=A4?=", "ä"),
        (b"a =?utf-8?q?b?=\n =?utf-8?q?c?= d", "a bc d"),
        (b"=?utf-8?q?ends never", "=?utf-8?q?ends never"),
        (b"=?utf-7?q?+2D4-?= rest", "\ufffd rest"),
        (b"=?utf-8?q?=1B[31mred?=", "[31mred"),
        (b"folded\r\n\tonce", "folded once"),
        ("👩\u200d👧".encode(), "👩\u200d👧"),
    ],
)
def test_a_header_is_utf8_first_and_then_a_guess(raw: bytes, text: str) -> None:
    assert field_text(raw) == text


def test_a_header_that_is_not_utf8_may_be_in_the_charset_of_the_body() -> None:
    head = b"Subject: \xc4\xe5\xeb\xee\nContent-Type: text/plain; charset=windows-1251\n\n"
    assert summarize(head).subject == "Дело"


@pytest.mark.parametrize(
    ("label", "data", "text"),
    [
        ("windows-874", b"\xa1\x85", "ก…"),
        ("x-gbk", b"\xd6\xd0", "中"),
        ("gb2312", b"\x8c\x96", "寲".encode("gbk").decode("gbk")),
        ("latin-1", b"\x80", "€"),
        ("ISO-8859-1", b"\x80", "€"),
        ("iso-8859-8-i", b"\xf9", "ש"),
        ("ks_c_5601-1987", b"\xc7\xd1", "한"),
        ("x-sjis", b"\x87\x40", "①"),
        ("us-ascii", "ü".encode(), "ü"),
        ("us-ascii", b"\xfc", "ü"),
        ("utf-16", "ü".encode("utf-16"), "ü"),
        ('"utf-8"', "ü".encode(), "ü"),
        ("nobody-knows", "ü".encode(), "ü"),
        ("", b"\xfc", "ü"),
    ],
)
@pytest.mark.parametrize("library", [True, False])
def test_charsets_have_the_names_of_the_web(
    monkeypatch: pytest.MonkeyPatch, library: bool, label: str, data: bytes, text: str
) -> None:
    if not library:
        monkeypatch.setattr(charsets, "webencodings", None)
    charsets._codec.cache_clear()
    try:
        assert decode(data, label) == text
    finally:
        charsets._codec.cache_clear()


def test_the_reader_needs_nothing_but_python() -> None:
    program = "import sys; sys.modules['webencodings'] = None; import maildir_safe._mail.message as m; " \
        "print(m.read_mail(b'Subject: =?windows-874?q?=A1?=\\n\\n').summary.subject)"  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, env={**os.environ, "PYTHONUTF8": "1"}
    )
    assert done.stdout.decode().strip() == "ก", done.stderr


# Addresses


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"Ada <ada@x>", ["Ada <ada@x>"]),
        (b'"Lovelace, Ada" <ada@x>, bob@y', ['"Lovelace, Ada" <ada@x>', "bob@y"]),
        (b"=?utf-8?q?ceo=40bank.example=2C?= <evil@x>", ['"ceo@bank.example," <evil@x>']),
        (b"=?utf-8?q?Boss_=3Cboss=40bank.example=3E?= <evil@x>", ['"Boss <boss@bank.example>" <evil@x>']),
        (b"=?utf-8?q?a=40b=2C_c=40d?= <evil@x>", ['"a@b, c@d" <evil@x>']),
        (b"boss@bank.example <evil@x>", ['"boss@bank.example" <evil@x>']),
        (b"=?utf-8?q?evil=40x?=@example.com", ["=?utf-8?q?evil=40x?=@example.com"]),
        (b"x <=?utf-8?q?a=40b?=>", ["x <=?utf-8?q?a=40b?=>"]),
        ("Jürgen <jürgen@dömäin.example>".encode(), ["Jürgen <jürgen@dömäin.example>"]),
        (b"undisclosed-recipients:;", ["undisclosed-recipients"]),
        (b"Friends: a@b, C <c@d>;, e@f", ["a@b", "C <c@d>", "e@f"]),
        (b"ada@x (Ada Lovelace)", ["Ada Lovelace <ada@x>"]),
        (b"root", ["root"]),
        (b"a@[IPv6:::1], b@c", ["a@[IPv6:::1]", "b@c"]),
        (b'"never ends <a@b>, c@d', ["never ends <a@b>", "c@d"]),
        (b'"john doe"@x', ['"john doe"@x']),
        (b"first <a@b> <c@d>", ['"first  <a@b>" <c@d>']),
        (b",, ,", []),
    ],
)
def test_addresses_are_split_first_and_decoded_then(raw: bytes, found: list[str]) -> None:
    assert [str(mailbox) for mailbox in mailboxes(raw)] == found


def test_a_shown_name_cannot_end_its_quotes() -> None:
    assert str(Mailbox('a" <ceo@bank>, "', "evil@x")) == r'"a\" <ceo@bank>, \"" <evil@x>'


def test_the_envelope_is_never_decoded() -> None:
    head = b"Return-Path: <=?utf-8?q?a?=@b>\nDelivered-To: =?utf-8?q?a=40b?=\nReceived: x\n\n"
    summary = summarize(head)
    assert (summary.returns, summary.envelope) == ("=?utf-8?q?a?=@b", ["=?utf-8?q?a=40b?="])
    assert summarize("Delivered-To: jürgen@ö.example\n\n".encode()).envelope == ["jürgen@ö.example"]


# Parameters


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b'a; name="x;y.txt"; size=3', "x;y.txt"),
        ('a; name="ü.txt"'.encode(), "ü.txt"),
        (b'a; name="\xfc.txt"', "ü.txt"),
        (b'a; name="=?utf-8?q?=C3=BC?=.txt"', "ü.txt"),
        (b"a; name*0*=utf-8''%e2%82; name*1*=%ac.txt; name=other", "€.txt"),
        (b"a; name*=iso-8859-1'en'%a3", "£"),
        (b"a; name*=nobody-knows''%c3%bc", "ü"),
        (b"a; name*0=one; name*2=three", "one"),
        (b'a; name="C:\\new\\file.txt"', "C:\\new\\file.txt"),
        (b'a; name="say \\"hi\\""', 'say "hi"'),
        (b'a; name="never ends', "never ends"),
        (b"a;;;; ;name = x", "x"),
    ],
)
def test_a_file_name_in_every_spelling(raw: bytes, name: str) -> None:
    assert value_and_parameters(raw)[1]["name"] == name


# Transfer encodings


@pytest.mark.parametrize("coding", ["base64", " BASE64 ", "base64 (as always)", "(c) base64", '"base64"'])
def test_a_transfer_encoding_with_spaces_or_a_comment(coding: str) -> None:
    mail = read_mail(f"Content-Transfer-Encoding: {coding}\n\n".encode() + b"dGV4dA==\n")
    assert mail.text == "text"


def pieces_of(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("coding", "data", "content"),
    [
        ("base64", b"dGV4\ndA==\n", b"text"),
        ("base64", b"dGV4dA==dGV4dA==", b"texttext"),
        ("base64", b"dG!V4 dA", b"text"),
        ("quoted-printable", b"a=3D=\r\nb=C3=BC\r\n", b"a=b\xc3\xbc\r\n"),
        ("x-uuencode", b"begin 644 x\n$=&5X=```\n`\nend\n", b"text"),
        ("7bit", b"a=3D", b"a=3D"),
    ],
)
def test_pieces_may_be_cut_anywhere(size: int, coding: str, data: bytes, content: bytes) -> None:
    assert b"".join(decoded(pieces_of(data, size), coding)) == content


@given(data=st.binary(max_size=200), size=st.integers(1, 100))
def test_what_was_encoded_comes_back(data: bytes, size: int) -> None:
    assert b"".join(decoded(pieces_of(base64.encodebytes(data), size), "base64")) == data


def test_a_transfer_encoding_that_nobody_knows_is_none() -> None:
    assert coding_of("") == ""
    assert b"".join(decoded([b"a"], "gzip")) == b"a"


# Parts


def named(mail: Mail) -> list[tuple[str, str]]:
    return [(part.name, part.content_type) for part in mail.attachments]


def test_an_attached_message_is_an_attachment() -> None:
    inner = b"Subject: inner\nContent-Type: text/plain\n\ninner text\n"
    raw = (
        MIXED + b"--x\nContent-Type: message/rfc822\n\n" + inner
        + b"\n--x\nContent-Type: text/plain\n\nouter text\n--x--\n"
    )  # fmt: skip
    mail = read_mail(raw)
    assert mail.text == "outer text"
    assert named(mail) == [("inner.eml", "message/rfc822")]
    part = find_part(raw, mail.attachments[0].number)
    assert b"".join(part.content(raw)) == inner


def test_an_attached_message_in_base64_has_its_subject_as_name() -> None:
    inner = base64.encodebytes(b"Subject: inner\n\n")
    heads = b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n"
    assert named(read_mail(heads + inner)) == [("inner.eml", "message/rfc822")]


def test_the_parts_of_a_digest_are_messages() -> None:
    raw = (
        b"Content-Type: multipart/digest; boundary=x\n\n"
        b"--x\n\nSubject: one\n\n1\n--x\n\nSubject: two\n\n2\n--x--\n"
    )
    assert named(read_mail(raw)) == [("one.eml", "message/rfc822"), ("two.eml", "message/rfc822")]


@pytest.mark.parametrize("disposition", ["", "Content-Disposition: inline; filename=a.txt\n"])
def test_a_text_with_a_name_and_no_other_is_the_body(disposition: str) -> None:
    head = f"Content-Type: text/plain; name=a.txt\n{disposition}\n"
    assert read_mail(head.encode() + b"hi\n").text == "hi\n"
    both = MIXED + b"--x\n" + head.encode() + b"hi\n--x\n\nbody\n--x--\n"
    mail = read_mail(both)
    assert (mail.text, named(mail)) == ("body", [("a.txt", "text/plain")])
    assert read_mail(b"Content-Disposition: attachment; filename=a\n\nx").text is None


def test_a_delivery_status_is_shown_and_saved_whole() -> None:
    status = b"Reporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; a@b\nStatus: 5.1.1\n"
    raw = (
        b"Content-Type: multipart/report; boundary=x\n\n--x\n\nSorry.\n--x\n"
        b"Content-Type: message/delivery-status\n\n" + status + b"\n--x\nContent-Type: message/rfc822\n\n"
        b"Subject: first\n\nhello\n--x--\n"
    )
    mail = read_mail(raw)
    assert mail.text is not None
    assert mail.text.startswith("Sorry.\n")
    assert "Status: 5.1.1" in mail.text
    assert [part.content_type for part in mail.attachments] == ["message/delivery-status", "message/rfc822"]
    assert b"".join(find_part(raw, mail.attachments[0].number).content(raw)) == status


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\nrest").decode()


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream"])
@pytest.mark.parametrize("reference", ["cid:a&b@x", "CID:a&amp;b@x", "cid:a%26b@x"])
def test_an_image_of_the_message_in_every_spelling(kind: str, reference: str) -> None:
    raw = (
        b"Content-Type: multipart/related; boundary=x\n\n--x\nContent-Type: text/html\n\n"
        + f'<img src="{reference}">\n--x\nContent-Type: {kind}; name=a.png\nContent-ID: <a&b@x>\n'.encode()
        + f"Content-Transfer-Encoding: base64\n\n{PNG}\n--x--\n".encode()
    )
    page = read_mail(raw).html_with_images
    assert page is not None
    assert f'src="data:image/png;base64,{PNG}"' in page


def test_what_is_no_image_is_not_put_into_the_page() -> None:
    raw = (
        b"Content-Type: multipart/related; boundary=x\n\n"
        b"--x\nContent-Type: text/html\n\n<img src=cid:a>\n--x\n"
        b"Content-Type: application/octet-stream\nContent-ID: <a>\n\n<svg onload=alert(1)>\n--x--\n"
    )
    assert "data:" not in (read_mail(raw).html_with_images or "")


def test_the_charset_of_html_is_its_headers_and_then_its_own() -> None:
    page = '<meta charset="windows-1251"><p>Дело'.encode("cp1251")
    assert "Дело" in (read_mail(b"Content-Type: text/html\n\n" + page).html or "")
    said = "<meta charset=windows-1251><p>ü".encode()
    assert "ü" in (read_mail(b"Content-Type: text/html; charset=utf-8\n\n" + said).html or "")


def test_html_as_plain_text() -> None:
    assert (
        plain_text("<style>p{}</style><p>Dear &amp; <b>near</b></p>end<script>x</script>")
        == "Dear & near\nend"
    )


def test_a_subject_behind_many_recipients() -> None:
    head = b"To: " + b",\n ".join(b"a%d@example.com" % n for n in range(5000)) + b"\nSubject: here\n\n"
    assert len(head) > 64 << 10
    summary = summarize(head)
    assert summary.subject == "here"
    assert "a100@example.com" in summary.to


def test_a_delimiter_ends_a_header_too() -> None:
    mail = read_mail(MIXED + b"--x\nContent-Type: application/pdf\n--x\n\ntext\n--x--\n")
    assert (mail.text, [part.content_type for part in mail.attachments]) == ("text", ["application/pdf"])


def test_the_outer_boundary_ends_what_the_inner_left_open() -> None:
    raw = (
        MIXED + b"--x\nContent-Type: multipart/alternative; boundary=y\n\n--y\n\ntext\n"
        b"--x\nContent-Type: application/pdf\n\npdf\n--x--\n"
    )
    mail = read_mail(raw)
    assert (mail.text, [part.content_type for part in mail.attachments]) == ("text", ["application/pdf"])


@pytest.mark.parametrize("first", [b"From me Mon Jan 1\n", b">From me\n", b"\t\xfc\n", b" folded\n"])
def test_a_first_line_that_is_no_field_hides_nothing(first: bytes) -> None:
    assert summarize(first + b"Subject: here\n\n").subject == "here"


def test_a_line_that_is_no_field_begins_the_body() -> None:
    fields, body = read_fields(b"Subject: a\nhello there\nX: y\n\n")
    assert ([name for name, _ in fields.raw], body) == (["Subject"], 11)


# Cost


def nested(depth: int, body: bytes) -> bytes:
    heads = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(depth))
    return b"Subject: deep\n" + heads + b"Content-Type: text/plain\n\n" + body


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (nested(300, b"\n" * 1_900_000), "nested deeper than 50"),
        (MIXED + (b"--x\nContent-Type: text/plain" + b";" * 30_000 + b"\n\nx\n") * 700, ""),
        (b"From: " + b'"a" <b@c>, ' * 25_000 + b"\nSubject: s\n\n", ""),
        (b"From: " + b"(" * 250_000 + b"\nSubject: s\n\n", ""),
        (b"Subject: " + b"=?a?q?" * 150_000 + b"\n\n", ""),
        (b'Content-Type: a/b; x="' + b'\\"' * 500_000 + b"\n\n", ""),
        (b"a: b\n" * 5_000_000, "too many header fields"),
        (MIXED + b"--x\n\n" * 2_000_000, "more than 1000 parts"),
        (MIXED + b"--y\n" * 2_000_000, "too many lines that begin with '--'"),
        (MIXED + (b"--x\n" + b"a:\n" * 5000) * 999, "too many header fields"),
        (b"Content-Transfer-Encoding: base64\n\n" + b"=A" * 5_000_000, "longer than 2 MiB"),
        (b"Content-Type: text/html\n\n" + b"<" * 3_000_000, "longer than 2 MiB"),
    ],
    ids=["deep", "params", "from", "comments", "words", "quotes", "fields", "parts", "delimiters",
         "part-fields", "padding", "html"],
)  # fmt: skip
def test_a_message_costs_what_its_bytes_cost(raw: bytes, problem: str) -> None:
    """The parser of the standard library took minutes for the first five. Here each ends in seconds."""
    tracemalloc.start()
    try:
        mail = read_mail(raw)
        assert problem in mail.problem
        assert bool(problem) == bool(mail.problem)
        assert len(mail.readable) <= 3_000_000
        assert tracemalloc.get_traced_memory()[1] < 150 * _MIB
    finally:
        tracemalloc.stop()


def test_two_thousand_recipients_are_all_read() -> None:
    raw = b"To: " + b", ".join(b"Name %d <a%d@example.com>" % (n, n) for n in range(2000)) + b"\n\n"
    assert summarize(raw).to.endswith("Name 1999 <a1999@example.com>")


PIECES = [
    b"Content-Type: ", b"multipart/mixed; boundary=x", b"message/rfc822", b"text/html; charset=", b"\n",
    b"\n\n", b"\r\n", b"--x", b"--x--", b"Subject: ", b"From: ", b"=?utf-8?q?", b"=?gb2312?b?", b"?=", b'"',
    b"<", b">", b"(", b"name*0*=", b"base64", b"Content-Transfer-Encoding: ", b"Content-ID: <a>", b"cid:a",
    b"utf-7", b"\xff", b"; ",
]  # fmt: skip


@pytest.mark.fuzz
@settings(deadline=None)
@given(raw=st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=50).map(b"".join))
def test_any_bytes_are_a_message(raw: bytes) -> None:
    mail = read_mail(raw)
    texts = [mail.readable, mail.html or "", *(part.name for part in mail.attachments)]
    texts += [text for header in mail.headers for text in header]
    for text in [*texts, mail.summary.sender, mail.summary.subject, mail.summary.to]:
        text.encode()
    structure = Structure(raw)
    assert all(0 <= part.body <= part.end <= len(raw) for part in structure.parts)


def test_uuencoded_lines_do_not_yield_more_than_they_have() -> None:
    """A line's first character says how many bytes it holds; what is missing would be zeros."""
    raw = b"begin 644 x\n" + b"M\n" * 1000 + b"end\n"
    assert len(b"".join(decoded([raw], "x-uuencode"))) <= len(raw)
