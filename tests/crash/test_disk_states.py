"""The crash model and the judge, without a disk: they must find what they are there to find."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from disk_recorder import FLUSH, HEADER, MARK, WRITE, Record, read_log
from disk_states import BLOCK, READY, crash_states, load_image, save_image
from disk_verdict import judge
from disk_workloads import message


def _block(job: str) -> bytes:
    return job.encode() * BLOCK


def _write(number: int, job: str) -> Record:
    return Record(WRITE, number * BLOCK, _block(job))


def _mark(data: bytes) -> Record:
    return Record(MARK, 0, data)


_FLUSH = Record(FLUSH, 0, b"")


def test_what_a_flush_has_reached_stays_and_the_rest_may_go() -> None:
    log = [_mark(READY), _write(1, "a"), _FLUSH, _mark(b"7"), _write(2, "b"), _mark(b"8")]
    found = {
        (state.kind, "".join(chr(data[0]) for data in state.image.values()), state.acknowledged)
        for state in crash_states({}, log, seed=1)
    }
    assert found == {
        ("all written", "", frozenset()),
        ("all written", "a", frozenset()),
        ("all written", "a", frozenset({7})),
        ("all written", "ab", frozenset({7, 8})),
        ("flushed only", "a", frozenset({7, 8})),
    }


def test_halves_are_drawn_from_what_is_not_flushed() -> None:
    log = [_mark(READY), _write(0, "a"), _FLUSH, *(_write(number, "b") for number in range(1, 40))]
    halves = [state for state in crash_states({}, log, seed=1) if state.kind == "random half"]
    assert len(halves) > 20
    assert all(0 in state.image for state in halves)
    assert 5 < len(halves[-1].image) < 35
    assert halves == [state for state in crash_states({}, log, seed=1) if state.kind == "random half"]
    assert halves != [state for state in crash_states({}, log, seed=2) if state.kind == "random half"]


def test_nothing_counts_before_the_workload_is_ready() -> None:
    assert list(crash_states({}, [_write(0, "a"), _FLUSH], seed=1)) == []


def test_a_large_write_is_torn_between_blocks() -> None:
    log = [_mark(READY), Record(WRITE, 0, _block("a") * 20)]
    halves = [state for state in crash_states({}, log, seed=1) if state.kind == "random half"]
    assert 0 < len(halves[-1].image) < 20


def test_half_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="whole blocks"):
        list(crash_states({}, [Record(WRITE, 512, b"x" * BLOCK)], seed=1))


def test_images_survive_being_saved(tmp_path: Path) -> None:
    image = {0: _block("a"), 7: _block("b"), 1000: _block("c")}
    save_image(image, tmp_path / "image", 1024 * BLOCK)
    assert load_image(tmp_path / "image") == image
    assert (tmp_path / "image").stat().st_size == 1024 * BLOCK


def test_the_log_is_read_as_written() -> None:
    records = [_mark(READY), _write(3, "a"), _FLUSH]
    raw = b"".join(HEADER.pack(one.kind, one.offset, len(one.data)) + one.data for one in records)
    assert list(read_log(io.BytesIO(raw))) == records


def test_the_judge_sees_lost_doubled_and_incomplete(tmp_path: Path) -> None:
    for part in ("tmp", "new", "cur"):
        (tmp_path / part).mkdir()
    (tmp_path / "new/0").write_bytes(message(0))
    (tmp_path / "cur/0:2,S").write_bytes(message(0))
    (tmp_path / "new/1").write_bytes(message(1)[:-1])
    (tmp_path / "tmp/2").write_bytes(message(2))
    verdict = judge(tmp_path, frozenset({0, 1, 2}), 3)
    assert verdict.lost == {1, 2}
    assert verdict.doubled == {0}
    assert verdict.incomplete == ["new/1"]


def test_the_judge_is_content_with_what_is_right(tmp_path: Path) -> None:
    for part in ("tmp", "new", "cur"):
        (tmp_path / part).mkdir()
    (tmp_path / "new/0").write_bytes(message(0))
    (tmp_path / "cur/1:2,S").write_bytes(message(1))
    (tmp_path / "tmp/2").write_bytes(message(2)[:9])
    assert not judge(tmp_path, frozenset({0}), 3)
