"""The message from a pipe, whatever the pieces in which it comes."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, strategies as st

from maildir_safe._cli import incoming_message
from maildir_safe._cli.incoming_message import Incoming, TraceHeader

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


@given(chunks=st.lists(TEXT, max_size=6), limit=st.sampled_from([0, 1, 5, 1000]))
def test_same_result_however_it_is_cut(chunks: list[bytes], limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incoming_message, "IN_MEMORY", limit)
        sent = b"X: y\n" + b"".join(chunks)
        message = Incoming(Chunks([b"X: y\n", *chunks]))
        assert taken(message) == sent.replace(b"\r\n", b"\n")


def test_large_message_can_be_read_once_and_keeps_no_copy() -> None:
    sent = b"x" * (incoming_message.IN_MEMORY + 1)
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
