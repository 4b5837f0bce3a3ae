"""Names: unique, within limits, taken apart and put together again."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._names import (
    UniqueNames,
    arrival_time,
    carries,
    flags_of,
    host_token,
    id_hash,
    is_unique,
    may_be_message,
    size_of,
    split,
    with_flags,
)


def test_a_name_has_the_fields_that_the_design_gives_it() -> None:
    name = UniqueNames(OsFileSystem(), 4711, "mx1").new([""])[0]
    seconds, middle, host = name.split(".", 2)
    assert seconds.isdecimal()
    assert middle.startswith("M")
    assert "P4711Q1R" in middle
    assert host == "mx1"


def test_names_do_not_recur() -> None:
    names = UniqueNames(OsFileSystem(), 1, "h")
    assert len({name for _ in range(100) for name in names.new([""] * 100)}) == 10_000


@given(st.text(max_size=300))
def test_a_host_token_is_short_printable_and_harmless(hostname: str) -> None:
    token = host_token(hostname)
    assert 0 < len(token) <= 40
    assert not set(token) & set("/:;!@,\n\0 ")
    assert not token.startswith(".")


def test_the_longest_name_fits_the_shortest_limit_measured() -> None:
    """docs/development/change-the-name-format.md says how much is left."""
    names = UniqueNames(OsFileSystem(), 4_194_304, host_token("x" * 300))
    name = names.complete(names.new([id_hash("some id")])[0], 1 << 30)
    assert len(with_flags(name, "DFPRSTabcd", ":")) == 133
    names._count = 999_999  # next: the millionth message of one process
    name = names.complete(names.new([id_hash("some id")])[0], 1 << 40)
    assert len(with_flags(name, "DFPRSTabcd", ":")) == 142  # of 143: securefs


@pytest.mark.parametrize(
    ("name", "key", "info"),
    [
        ("1.M2P3Q4.h,S=5:2,RS", "1.M2P3Q4.h,S=5", ":2,RS"),
        ("1.M2P3Q4.h,S=5;2,RS", "1.M2P3Q4.h,S=5", ";2,RS"),
        ("1.M2P3Q4.h:1,experimental", "1.M2P3Q4.h", ":1,experimental"),
        ("1.M2P3Q4.h", "1.M2P3Q4.h", ""),
        ("odd:name", "odd:name", ""),
        ("1.2.h:2,", "1.2.h", ":2,"),
        ("1.2.h!2,S", "1.2.h", "!2,S"),
        ("1.2.h:2,S,Z", "1.2.h", ":2,S,Z"),
        ("1.2.h:2,:2,S", "1.2.h", ":2,:2,S"),
        ("1.2.h;2,:2,S", "1.2.h", ";2,:2,S"),
        ("1.2.h!1,S=5", "1.2.h!1,S=5", ""),
    ],
)
def test_key_and_info_part_at_the_first_separator(name: str, key: str, info: str) -> None:
    assert split(name) == (key, info)


@pytest.mark.parametrize(
    ("info", "flags", "after"),
    [
        (":2,S,Z", "S", ":2,FR,Z"),
        (":2,SZ", "SZ", ":2,FR"),
        (":2,:2,S", "S", ":2,:2,FR"),
        ("!2,S", "S", "!2,FR"),
        (";2,", "", ";2,FR"),
        (":2,S9", "S", ":2,FR9"),
        (":1,experimental", "", ":2,FR"),
        ("", "", ":2,FR"),
    ],
)
def test_a_change_of_flags_keeps_all_that_is_no_flag(info: str, flags: str, after: str) -> None:
    assert flags_of(info) == flags
    assert with_flags("1.2.h", "RF", ":", info) == f"1.2.h{after}"


@given(st.text("DFPRSTabcxyz"), st.sampled_from(":;"))
def test_flags_come_back_sorted_and_once(flags: str, separator: str) -> None:
    key, info = split(with_flags("1.M1P1Q1.h,S=3", flags, separator))
    assert key == "1.M1P1Q1.h,S=3"
    assert flags_of(info) == "".join(sorted(set(flags)))


@pytest.mark.parametrize("flags", ["/", "1", "é", "S,", "\n"])
def test_what_is_no_flag_is_refused(flags: str) -> None:
    with pytest.raises(ValueError, match="ASCII letters"):
        with_flags("1.2.h", flags, ":")


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("1.2.h,S=17:2,S", 17),
        ("1.2.h,S=17,W=18", 17),
        ("1.2.h", None),
        ("1.2.h,S=", None),
        ("1.2.h,S=1x", None),
        ("1.2.h,S=-1", None),
        ("1.2.h,S=٣", None),
    ],
)
def test_size_is_read_from_the_name(name: str, size: int | None) -> None:
    assert size_of(name) == size


@pytest.mark.parametrize(
    ("name", "when"),
    [
        ("1795859132.M000123P146Q22R0.guest,S=416:2,S", (1795859132, 123)),
        ("1795859132.M5P1.host", (1795859132, 5)),
        ("1795859132.146_2.host", (1795859132, 0)),
        ("1795859132.Mx.host", (1795859132, 0)),
        ("1795859132", None),
        ("\u0663.M1P1.host", None),
        ("maildirsize", None),
        (".nfs0001", None),
    ],
)
def test_the_time_of_arrival_is_read_from_the_name(name: str, when: tuple[int, int] | None) -> None:
    assert arrival_time(name) == when


def test_a_delivery_id_is_found_in_the_name_whatever_the_flags() -> None:
    hashed = id_hash("3F2A1/user@example.org")
    name = with_flags(UniqueNames(OsFileSystem(), 1, "h").new([hashed])[0] + ",S=3", "S", ":")
    assert carries(name, hashed)
    assert not carries(name, id_hash("3F2A1/other@example.org"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (".nfs0001", False),
        (".fuse_hidden1", False),
        ("lost+found", False),
        ("maildirfolder", False),
        ("1.2.h", True),
    ],
)
def test_strays_are_no_messages(name: str, message: bool) -> None:
    assert may_be_message(name) is message


def test_only_names_of_the_usual_shape_are_taken_unseen() -> None:
    assert is_unique("1763853884.M1P2Q3.host")
    assert not is_unique("Archive")
    assert not is_unique("notes.txt")
