"""Errors of partly accepted batches; a separate module, so that single deliveries need not load it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maildir_safe.errors import TemporaryError

if TYPE_CHECKING:
    from maildir_safe._delivery.receipt import Receipt


class PartialDelivery(TemporaryError):
    """Some messages of a `Maildir.deliver_many` were not delivered.

    The caller still owns the messages whose result is an error.

    Attributes:
        results: for each message in order, its `Receipt` or its error.
    """

    def __init__(self, results: list[Receipt | BaseException]) -> None:
        failed = [result for result in results if isinstance(result, BaseException)]
        super().__init__(f"{len(failed)} of {len(results)} messages not delivered; the first: {failed[0]}")
        self.results = results


class PartialPut(TemporaryError):
    """Some messages of a `Queue.put_many` were not accepted; the caller still owns those.

    Attributes:
        results: for each message in order, its item id or its error.
    """

    def __init__(self, results: list[str | BaseException]) -> None:
        failed = [result for result in results if isinstance(result, BaseException)]
        super().__init__(f"{len(failed)} of {len(results)} messages were not put; the first: {failed[0]}")
        self.results = results
