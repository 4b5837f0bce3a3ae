"""What a worker hands an item to, and what it gets back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

    from maildir_safe._queue.claim import Claim


class RecipientStatus(NamedTuple):
    """What became of one recipient.

    Attributes:
        code: as in SMTP (RFC 5321): 2xx it has the message, 4xx try again, 5xx never.
        text: in words, its enhanced status code (RFC 3463) first if there is one.
    """

    code: int
    text: str

    @property
    def done(self) -> bool:
        """The recipient has the message."""
        return 200 <= self.code < 300

    @property
    def permanent(self) -> bool:
        """Trying again cannot succeed."""
        return 500 <= self.code < 600

    @property
    def enhanced_code(self) -> str:
        """The enhanced status code, made up from the code where the text has none."""
        word = self.text.partition(" ")[0]
        parts = word.split(".")
        if len(parts) == 3 and all(part.isdecimal() for part in parts):
            return word
        return f"{self.code // 100}.0.0"


@dataclass(frozen=True, slots=True)
class DeliveryRequest:
    """A message on its way to a courier.

    Attributes:
        id: of the item; stable over all tries, so that a receiver may recognise a second one.
        sender: envelope sender; ``""`` for a bounce.
        recipients: those who are still owed it.
        open: gives the message as a binary file, from its first byte on, as often as it is asked.
        confirm: to be called just before the step that cannot be undone; raises `LeaseLost` if the
            item has been taken over by another worker meanwhile.
        claim: of the item, for a courier that ends it itself; None for a bounce.
    """

    id: str
    sender: str
    recipients: tuple[str, ...]
    open: Callable[[], BinaryIO]
    confirm: Callable[[], None]
    claim: Claim | None = None


class Courier(Protocol):
    """Takes messages somewhere. Any callable will do; it is called from several threads at once."""

    def __call__(self, request: DeliveryRequest) -> Mapping[str, RecipientStatus] | None:
        """Hand a message on.

        Returns:
            An answer for each recipient, or None if all have it. Who is missing is tried again.

        Raises:
            Exception: nobody has it, as far as is known: all are tried again. `PermanentError`:
            and never will: they have failed.
        """


def same_status(request: DeliveryRequest, status: RecipientStatus) -> dict[str, RecipientStatus]:
    """The same answer for every recipient."""
    return dict.fromkeys(request.recipients, status)
