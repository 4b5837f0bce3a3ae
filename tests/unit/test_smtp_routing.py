"""From addresses to Maildirs: no address names a path outside, and a lost mount bounces nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from maildir_safe._smtp.backends.routing import CatchAll, MailboxMap
from maildir_safe._smtp.protocol.replies import Refused

MAP = MailboxMap("/mail/{domain}/{local}", postmaster="admin@example.com")


def test_catch_all_takes_everything() -> None:
    assert CatchAll("/m").candidates("../../etc/passwd@\u00e4") == ["/m"]


@pytest.mark.parametrize(
    ("address", "paths"),
    [
        ("Bob@Example.COM", ["/mail/example.com/bob"]),
        ("bob+Tag@example.com", ["/mail/example.com/bob+tag", "/mail/example.com/bob"]),
        ("b.o-b_1@a-b.example", ["/mail/a-b.example/b.o-b_1"]),
        ("Postmaster@example.org", ["/mail/example.org/postmaster", "/mail/example.com/admin"]),
        ("postmaster", ["/mail/example.com/admin"]),
        ("o'brien@example.com", ["/mail/example.com/o'brien"]),
        ('"bob"@example.com', ["/mail/example.com/bob"]),
        (r'"John\ Doe"@example.com', ["/mail/example.com/john doe"]),
        ("b{x}!#$%&*?^`|~@example.com", ["/mail/example.com/b{x}!#$%&*?^`|~"]),
        ("Jürgen@example.com", ["/mail/example.com/jürgen"]),
        ("ÖZLEM@example.com", ["/mail/example.com/özlem"]),
        ("ju\u0308rgen@example.com", ["/mail/example.com/jürgen"]),  # decomposed
        ("bob@Bücher.example", ["/mail/bücher.example/bob", "/mail/xn--bcher-kva.example/bob"]),
        ("bob@xn--bcher-kva.example", ["/mail/xn--bcher-kva.example/bob", "/mail/bücher.example/bob"]),
        ("bob@xn--a.example", ["/mail/xn--a.example/bob"]),  # of nothing that anybody would write
    ],
)
def test_candidates(address: str, paths: list[str]) -> None:
    assert MAP.candidates(address) == paths


@pytest.mark.parametrize(
    "address",
    [
        "..@example.com",
        ".bob@example.com",
        "bob.@example.com",
        "a..b@example.com",
        "../../etc@example.com",
        "a/b@example.com",
        "bob@..",
        "bob@a/b",
        "bob@example..com",
        "bob@-a",
        "bob@a-",
        "bob@[127.0.0.1]",
        "bob",
        "\u212abob@example.com",  # the Kelvin sign folds to k, also in Unicode's composed form
        "bo\u212a@example.com",
        "\u0130@example.com",  # a dotted capital I: its lower case begins with an i
        "bob@\u212a.example",
        "bob@a\uff0eb",  # a full-width dot
        "a\uff0fb@example.com",  # and a full-width slash
        '".bob"@example.com',
        '"bob."@example.com',
        '"bob "@example.com',
        '""@example.com',
        r'"a\\b"@example.com',
        '"a/../b"@example.com',
        "@example.com",
        "bob@",
        "a@sys@example.com",
        "b" * 65 + "@example.com",
        "bob@" + "a." * 130 + "com",
        "bob@{local}",
    ],
)
def test_addresses_that_name_no_mailbox(address: str) -> None:
    with pytest.raises(Refused, match=r"550 5\.1\.1"):
        MAP.candidates(address)


@pytest.mark.fuzz
@settings(deadline=None)  # a busy machine is no failure
@given(st.text(max_size=30), st.text(max_size=30))
def test_no_address_leads_outside(local: str, domain: str) -> None:
    for address in (f"{local}@{domain}", local, f"{local}@example.com", f"bob@{domain}"):
        try:
            paths = MAP.candidates(address)
        except Refused:
            continue
        for path in paths:
            root, mail, *parts = path.split("/")
            assert (root, mail, len(parts)) == ("", "mail", 2)
            assert all(
                part and ".." not in part and not part.startswith(".") and "@" not in part for part in parts
            )


@pytest.mark.parametrize(
    "template",
    ["mail/{local}", "/mail/{domain}", "/mail/{local}/{x}", "/mail/{local.__class__}", "/mail/{local", "/{}"],
)
def test_templates_that_cannot_work(template: str) -> None:
    with pytest.raises(ValueError, match="--map"):
        MailboxMap(template)


def test_a_postmaster_who_cannot_be() -> None:
    with pytest.raises(ValueError, match="--postmaster"):
        MailboxMap("/mail/{domain}/{local}", postmaster="../x")
