"""A bounded buffer for the bytes of a client, read line by line or as they arrive."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_ENOUGH = 128 * 1024  # bytes; the transport is asked to pause above


class EndOfInput(Exception):
    """The client has closed its sending side, and everything it sent has been read."""


class LineTooLong(Exception):
    """A line was longer than allowed. All of it has been discarded."""


class InputBuffer:
    """A buffer between a transport, which feeds it, and one coroutine, which reads it.

    Args:
        pause: called with True when the transport should stop reading, with False when it may go on.

    Attributes:
        data: the bytes that were not read yet. Code that removes some must call `taken`.
    """

    def __init__(self, pause: Callable[[bool], None]) -> None:
        self._pause = pause
        self._paused = False
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None
        self.data = bytearray()

    def feed(self, data: bytes) -> None:
        """Bytes have arrived."""
        self.data += data
        if len(self.data) > _ENOUGH and not self._paused:
            self._paused = True
            self._pause(True)
        self._wake()

    def feed_eof(self) -> None:
        """Nothing more will arrive."""
        self._ended = True
        self._wake()

    def clear(self) -> None:
        """Discard everything that has arrived."""
        self.data.clear()
        self.taken()

    def taken(self) -> None:
        """Bytes were removed from `data`: let a paused transport go on."""
        if self._paused and len(self.data) <= _ENOUGH:
            self._paused = False
            self._pause(False)

    async def more(self) -> None:
        """Wait for more bytes. Raises `EndOfInput` if none will arrive."""
        if self._ended:
            raise EndOfInput
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def line(self, limit: int) -> bytes:
        """Read the next line, without its line end (CRLF or LF).

        Args:
            limit: longest line in bytes.

        Raises:
            LineTooLong: the line is longer. EndOfInput: the input ended before the line did.
        """
        searched = 0
        while (end := self.data.find(b"\n", searched)) < 0:
            if len(self.data) > limit:
                await self._skip_line()
                raise LineTooLong
            searched = len(self.data)
            await self.more()
        line = bytes(self.data[:end])
        del self.data[: end + 1]
        self.taken()
        if len(line) > limit:
            raise LineTooLong
        return line.rstrip(b"\r")

    async def _skip_line(self) -> None:
        while (end := self.data.find(b"\n")) < 0:
            self.clear()
            await self.more()
        del self.data[: end + 1]
        self.taken()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
