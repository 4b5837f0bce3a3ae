"""From addresses to Maildirs: no address names a path outside, and a lost mount bounces nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._smtp.backends.maildir_store import lost_mount
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
        "bob@[127.0.0.1]",
        "bob",
        '"bob"@example.com',
        "b\u00f6b@example.com",
        "@example.com",
        "bob@",
        "a@sys@example.com",
        "b" * 65 + "@example.com",
        "bob@" + "a." * 130 + "com",
        "{domain}@example.com",
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


def test_an_empty_mount_point_is_not_an_unknown_user(tmp_path: Path) -> None:
    fs = OsFileSystem()
    share = tmp_path / "share"
    bob = f"{share}/example.com/bob"
    share.mkdir()
    assert lost_mount(fs, bob)  # what a mount point looks like without its mount
    (share / "other.example").mkdir()
    assert not lost_mount(fs, bob)  # the share is there, and has no example.com
    (share / "example.com").mkdir()
    assert lost_mount(fs, bob)  # example.com may be a mount point too
    (share / "example.com" / "alice").mkdir()
    assert not lost_mount(fs, bob)
