"""Which directories are a handoff: pure."""

from __future__ import annotations

import pytest

from maildir_safe._shim.pairs import PAIRS, Pairs, private

YES = [
    ("/m/box/tmp", "/m/box/new", "tmp:new"),
    ("/m/box/.Sub/tmp", "/m/box/.Sub/cur", "tmp:cur"),
    ("/m/new", "/m/cur", "new:cur"),
    ("/tmp", "/new", "tmp:new"),
    ("/var/qmail/queue/pid", "/var/qmail/queue/mess/11", "pid:mess/*"),
    ("/q/intd", "/q/todo", "intd:todo"),
    ("/q/intd/3", "/q/todo/3", "intd/*:todo/*"),
    ("/var/spool/nullmailer/tmp", "/var/spool/nullmailer/queue", "tmp:queue"),
]
NO = [
    ("/m/box/tmp", "/m/box/tmp"),
    ("/m/box/tmp", "/m/other/new"),
    ("/m/box/new", "/m/box/tmp"),
    ("/m/box/cur", "/m/box/new"),
    ("/m/box/tmp", "/m/box/new/deep"),
    ("/m/box/tmp/new", "/m/box/tmp"),
    ("/m/box/xtmp", "/m/box/new"),
    ("/m/box/tmp", "/m/box/new (deleted)"),
    ("/q/pid", "/q/mess"),
    ("/q/pid", "/q/mess/1/2"),
    ("/", "/new"),
    ("/var/lock", "/var/lock"),
    ("/a/tmp", "/b/a/new"),
]


@pytest.mark.parametrize(("src", "dst", "pair"), YES)
def test_a_hand_off(src: str, dst: str, pair: str) -> None:
    assert Pairs().match(src, dst) == pair


@pytest.mark.parametrize(("src", "dst"), NO)
def test_none(src: str, dst: str) -> None:
    assert Pairs().match(src, dst) is None


def test_a_directory_is_never_a_pair_with_itself() -> None:
    everything = Pairs(("*:x", "x:*", "*:*/*", "*/*:*"))
    for path in ("/", "/x", "/a/x", "/tmp", "/a/b/c"):
        assert everything.match(path, path) is None


@pytest.mark.parametrize("bad", ["", "x", "x:", ":x", "a:a", "a/:a", "../a:b", "a:./b", "a//b:c", "*:*"])
def test_pairs_that_make_no_sense(bad: str) -> None:
    with pytest.raises(ValueError, match=r"pair|directory"):
        Pairs((bad,))


def test_who_else_moves_the_source() -> None:
    assert {pair for pair in PAIRS if not private(pair)} == {"new:cur"}
