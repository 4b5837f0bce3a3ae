"""The error of a batch of which some was delivered; in a file of its own, as one message needs none."""

from __future__ import annotations

from maildir_safe.errors import TemporaryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._delivery.receipt import Receipt


class PartialDelivery(TemporaryError):
    """Some messages of a `Maildir.deliver_many` were not delivered.

    The caller still owns those whose result is an error.

    Attributes:
        results: for each message in order, its `Receipt` or its error.
    """

    def __init__(self, results: list[Receipt | BaseException]) -> None:
        failed = [result for result in results if isinstance(result, BaseException)]
        super().__init__(f"{len(failed)} of {len(results)} messages not delivered; the first: {failed[0]}")
        self.results = results
