"""The message from a pipe, whatever the pieces in which it comes."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, strategies as st

from maildir_safe._delivery.incoming import IN_MEMORY, Incoming, without_mbox_line
from maildir_safe._delivery.trace_headers import TraceHeader, trace_headers

TEXT = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"x", b"From ", b"\0"]), max_size=30).map(b"".join)


class Chunks(io.RawIOBase):
    """Gives its pieces one by one, as a pipe may."""

    def __init__(self, chunks: list[bytes]) -> None:
        self._pieces = [piece for piece in chunks if piece]

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002 - no larger than what is asked for
        return self._pieces.pop(0) if self._pieces else b""


def taken(message: Incoming) -> bytes:
    if message.whole:
        return message.start
    return b"".join(iter(lambda: message.read(1), b""))


@given(chunks=st.lists(TEXT, max_size=6), limit=st.sampled_from([0, 1, 5, 1000, None]))
def test_same_result_however_it_is_cut(chunks: list[bytes], limit: int | None) -> None:
    sent = b"X: y\n" + b"".join(chunks)
    message = Incoming(Chunks([b"X: y\n", *chunks]), limit)
    assert taken(message) == sent.replace(b"\r\n", b"\n")


def test_large_message_can_be_read_once_and_keeps_no_copy() -> None:
    sent = b"x" * (IN_MEMORY + 1)
    message = Incoming(io.BytesIO(sent))
    assert not message.whole
    assert taken(message) == sent
    assert message.start == b""
    assert message.read(1) == b""


@pytest.mark.parametrize(
    ("start", "put_on_top"),
    [
        (b"Return-Path: <a@b>\nDelivered-To: c@d\nReceived: x\n\n", [b"return-path", b"delivered-to"]),
        (b"X: y\n folded\nDelivered-To: c@d\nReceived: x\n\n", [b"delivered-to"]),
        (b"Received: x\nReturn-Path: <a@b>\nReceived: y\n\n", []),
        (b"Return-Path: <a@b>\nSubject: came from no mail server\n\nReceived: x\n", []),
        (b"", []),
    ],
)
def test_what_the_mail_server_put_on_top(start: bytes, put_on_top: list[bytes]) -> None:
    trace = TraceHeader(start)
    assert [
        name for name in (b"return-path", b"x-original-to", b"delivered-to") if trace.has(name)
    ] == put_on_top


@pytest.mark.parametrize(
    "header",
    [
        b"Delivered-To:\n c@d\n",
        b"Delivered-To: \n\tc@d \n",
        b"Delivered-To: <C@D>\n",
        b"Received: x\nDelivered-To:\n\n\tc@d\nDelivered-To:\n c\n @d\n".replace(b"\n\n", b"\n \n"),
    ],
)
def test_a_folded_delivered_to_hides_no_loop(header: bytes) -> None:
    assert TraceHeader(header + b"Subject: x\n\nbody\n").loops("c@d")


@pytest.mark.parametrize(
    "start", [b" Delivered-To: c@d\n\n", b"\nDelivered-To: c@d\n", b"\tx\nDelivered-To: c@d\n"]
)
def test_what_stands_in_the_body_is_no_loop(start: bytes) -> None:
    assert not TraceHeader(start).loops("c@d")


def test_angle_brackets_are_dropped_and_an_empty_recipient_is_none() -> None:
    assert trace_headers("<a@b>", "<c@d>", "<e@f>") == (
        b"Return-Path: <a@b>\nX-Original-To: e@f\nDelivered-To: c@d\n"
    )
    assert trace_headers("<>", "", "") == trace_headers("", None, None) == b"Return-Path: <>\n"


def test_only_the_first_line_can_be_that_of_an_mbox() -> None:
    assert without_mbox_line(b"From a@b date\nFrom: a\n") == b"From: a\n"
    assert without_mbox_line(b">From a@b date\nFrom: a\n") == b">From a@b date\nFrom: a\n"
