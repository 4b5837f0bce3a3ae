"""Names of items and buckets, the schedule, the envelope: all pure."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, strategies as st

from maildir_safe._names import is_unique, may_be_message, size_of, split
from maildir_safe._queue.schedule import Schedule
from maildir_safe._queue.store import bucket, envelope, item_name
from maildir_safe._queue.store.item import Item, ItemIds
from maildir_safe.errors import PermanentError
from maildir_safe.testing.simfs import SimHost, SimServer

NOW = 1_763_856_000.0
numbers = st.integers(0, 10**6)


def an_id() -> str:
    return ItemIds(SimHost(SimServer()), "mx1.example.org").new([""])[0]


items = st.builds(
    Item,
    st.just(an_id()),
    numbers,
    numbers,
    numbers,
    st.integers(0, 2 * 10**9),
    st.text("odfb", min_size=1, max_size=50),
)


@given(items)
def test_a_name_tells_the_item(one: Item) -> None:
    found = item_name.parse(one.name)
    assert [getattr(found, name) for name in Item.__slots__] == [
        getattr(one, name) for name in Item.__slots__
    ]


@given(items)
def test_the_name_is_short_and_means_the_same_in_either_case(one: Item) -> None:
    [ident] = ItemIds(SimHost(SimServer()), "m" * 90).new([""])
    longest = Item(ident, 10**9, 999, 999, 2 * 10**9, "o" * 50)
    assert len(longest.name) == 142  # of at most 143: docs/development/change-the-name-format.md says so
    assert not set('\\/:*?"<>|') & set(one.name)


@given(items)
def test_an_item_and_its_message_in_a_maildir_have_one_name_in_front(one: Item) -> None:
    """Whether a message was delivered already is found out by this name: it is the same in all versions."""
    ids = ItemIds(SimHost(SimServer()), "m")
    assert ids.complete(one.id, one.size) == one.maildir_name == f"{one.id},S={one.size}"
    assert one.name.startswith(f"{one.maildir_name},g")


@given(items)
def test_it_is_a_good_name_in_a_maildir(one: Item) -> None:
    assert may_be_message(one.maildir_name)
    assert is_unique(one.maildir_name)
    assert size_of(one.maildir_name) == one.size
    assert split(one.maildir_name) == (one.maildir_name, "")


@given(items, st.booleans())
def test_whatever_returns_has_a_name_it_never_had_and_the_same_id(one: Item, tried: bool) -> None:
    after = one.returned(tried=tried)
    assert (after.gen, after.tries) == (one.gen + 1, one.tries + tried)
    assert after.maildir_name == one.maildir_name
    assert after.name != one.name


@pytest.mark.parametrize(
    "name",
    [
        "", ".nfs0001", "lost+found", "1763.M1R1.h", "1763.M1R1.h,S=1,g0,t0,n0", "1763.M1R1.h,S=1,g0,t0,n0,",
        "1763.M1R1.h,S=1,g0,t0,n0,x", "1763.M1R1.h,S=1,g00,t0,n0,o", "1763.M1R1.h,S=1,t0,g0,n0,o",
        "x.M1R1.h,S=1,g0,t0,n0,o", "1763.M1R1.h,S=-1,g0,t0,n0,o,o", "1763.M1R1.h,S=1 ,g0,t0,n0,o",
    ],
)  # fmt: skip
def test_nothing_else_is_an_item(name: str) -> None:
    assert item_name.parse(name) is None


@given(st.text())
def test_any_text_is_an_item_only_if_it_is_that_items_name(name: str) -> None:
    found = item_name.parse(name)
    assert found is None or found.name == name


@given(st.integers(-(10**6), 10**7))
def test_an_item_is_in_its_bucket_before_it_is_due_and_never_long_before(ahead: int) -> None:
    due = int(NOW) + ahead
    found = bucket.parse(f"{bucket.period(due, NOW)}.mx1-0a.7")
    assert found is not None
    assert found.start <= due
    width = 0 if ahead <= 0 else 60 if ahead < 3600 else 3600 if ahead < 2 * 86400 else 86400
    assert ahead <= 0 or due - found.start < width
    assert (found.period == bucket.NOW) == (ahead <= 0)


@given(st.integers(1, 10**7))
def test_filing_again_ends(ahead: int) -> None:
    """From a wide bucket into narrower ones, at most twice: day, hour, minute."""
    due, now, moves = int(NOW) + ahead, NOW, 0
    here = bucket.period(due, now)
    while now < due:
        now = max(now + 1, (bucket.parse(f"{here}.s.0") or pytest.fail("no bucket")).start)
        there = bucket.period(due, now)
        if there == bucket.NOW or there == here:
            break
        here, moves = there, moves + 1
    assert moves <= 2


def test_the_whole_future_is_a_few_buckets() -> None:
    everything = {bucket.period(int(NOW) + second, NOW) for second in range(0, 5 * 86400, 30)}
    assert len(everything) < 120


@pytest.mark.parametrize("name", ["now", "now.a", "now..1", "x.a.1", "12q.a.1", "now.a.x", "m.a.1", ".nfs1"])
def test_nothing_else_is_a_bucket(name: str) -> None:
    assert bucket.parse(name) is None


def test_waits_double_from_a_minute_to_four_hours_for_five_days() -> None:
    schedule = Schedule()
    assert [schedule.delay(tries, 0.5) for tries in (1, 2, 3, 8, 9, 1000)] == [
        60,
        120,
        240,
        7680,
        14400,
        14400,
    ]
    assert not schedule.is_over(45, NOW, NOW + 5 * 86400 - 1)
    assert schedule.is_over(45, NOW, NOW + 5 * 86400)


@given(st.integers(1, 100), st.floats(0, 1))
def test_jitter_keeps_within_its_share(tries: int, chance: float) -> None:
    schedule = Schedule(jitter=0.2)
    middle = schedule.delay(tries, 0.5)
    assert 0.9 * middle - 1e-6 <= schedule.delay(tries, chance) <= 1.1 * middle + 1e-6


addresses = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=40)


@given(addresses, st.lists(addresses, min_size=1, max_size=50), st.binary())
def test_an_envelope_is_read_as_it_was_written(sender: str, recipients: list[str], message: bytes) -> None:
    file = io.BytesIO(envelope.head(sender, recipients) + message)
    found = envelope.read(file, "o" * len(recipients))
    assert (found.sender, list(found.recipients)) == (sender, recipients)
    assert file.read() == message


def test_a_message_that_begins_like_an_envelope_is_no_riddle() -> None:
    message = b"Delivered-To: other@example.org\nReturn-Path: <x>\n\nbody\n"
    file = io.BytesIO(envelope.head("", ["a@example.org"]) + message)
    found = envelope.read(file, "o")
    assert (found.sender, found.recipients, found.states) == ("", ("a@example.org",), "o")
    assert file.read() == message


@pytest.mark.parametrize(
    "broken", [b"", b"Return-Path: <a>\n", b"Return-Path: a\nDelivered-To: b\n", b"\0" * 99]
)
def test_a_broken_envelope_is_said_to_be_one(broken: bytes) -> None:
    with pytest.raises(envelope.Unreadable):
        envelope.read(io.BytesIO(broken), "o")


def test_addresses_that_would_break_the_envelope_are_refused() -> None:
    for bad in ("a\nb", "a\rb", "a\0b", "x" * 10_000):
        with pytest.raises(PermanentError):
            envelope.head(bad, ["a"])
        with pytest.raises(PermanentError):
            envelope.head("a", ["a", bad])
    for count in (0, 51):
        with pytest.raises(ValueError, match="recipients"):
            envelope.head("a", ["a"] * count)


def test_states_name_recipients() -> None:
    found = envelope.Envelope("s", ("a", "b", "c"), "odo")
    assert (found.owed, found.in_state("d"), found.in_state("f")) == (("a", "c"), ("b",), ())


def test_recipients_are_grouped_by_domain_or_one_by_one() -> None:
    three = ["a@one.org", "b@two.org", "c@ONE.org"]
    assert envelope.groups(three) == [["a@one.org", "c@ONE.org"], ["b@two.org"]]
    assert envelope.groups(three, each=True) == [["a@one.org"], ["b@two.org"], ["c@ONE.org"]]
    many = envelope.groups([f"u{n}@one.org" for n in range(120)])
    assert [len(group) for group in many] == [50, 50, 20]
