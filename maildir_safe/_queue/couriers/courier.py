"""What a worker hands an item to, and what it gets back.

A courier is any function of one argument:

    def courier(request: DeliveryRequest) -> dict[str, RecipientStatus]:
        ...

It returns what became of each recipient and changes nothing in the queue; that is the worker's. Two more
protocols are there for couriers that need them: `HandsOverFiles` for a courier whose recipients have
Maildirs, into which the worker may rename an item's file, and `HasDestinations` for a courier that knows
better than by the domain which recipients wait for the same thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from maildir_safe._delivery.status import RecipientStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from maildir_safe._maildir.maildir import Maildir

NO_ANSWER = RecipientStatus(451, "4.3.0 the courier gave no answer")


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
    """

    id: str
    sender: str
    recipients: tuple[str, ...]
    open: Callable[[], BinaryIO]
    confirm: Callable[[], None]


class Courier(Protocol):
    """Takes messages somewhere. Any function will do; it is called from several threads at once."""

    def __call__(self, request: DeliveryRequest, /) -> Mapping[str, RecipientStatus] | None:
        """Hand a message on.

        Returns:
            A status for each recipient, or None if all have it. A recipient that is missing is tried again.

        Raises:
            Exception: nobody has it, as far as is known: all are tried again. `PermanentError`:
            and never will: they have failed, and the sender is told its text.
        """


@runtime_checkable
class HandsOverFiles(Protocol):
    """A courier whose recipients have Maildirs.

    Where an item has one recipient, the worker does not call the courier but asks it for that recipient's
    Maildir, and moves the item's own file there: exactly once, in one rename.
    """

    def hand_over(self, recipient: str, move: Callable[[Maildir], object]) -> RecipientStatus:
        """Call `move` with the recipient's Maildir, and say what came of it.

        Args:
            move: moves the file there; what it raises (`MaildirSafeError`) becomes the status, but for
                `LeaseLost`, which is passed on.
        """


@runtime_checkable
class HasDestinations(Protocol):
    """A courier that knows which recipients wait for the same thing, such as one mount.

    When a hand-over to a destination does not end for long, no other is begun there until it does.
    """

    def destination(self, recipient: str) -> str:
        """The destination of a recipient, as any text. It must not touch what may hang."""


def domain_of(recipient: str) -> str:
    """The destination of a recipient where the courier does not know better."""
    return recipient.rpartition("@")[2].lower()


def same_status(request: DeliveryRequest, status: RecipientStatus) -> dict[str, RecipientStatus]:
    """The same status for every recipient."""
    return dict.fromkeys(request.recipients, status)


def checked(given: object, request: DeliveryRequest) -> dict[str, RecipientStatus]:
    """A status for each recipient, whatever a courier returned; what makes no sense is tried again."""
    if given is None:
        return same_status(request, RecipientStatus(250, "2.0.0 taken"))
    if not isinstance(given, Mapping):
        wrong = NO_ANSWER._replace(
            error=f"it returned {type(given).__name__}, not a status for each recipient"
        )
        return same_status(request, wrong.cleaned())
    return {recipient: _checked(given.get(recipient)) for recipient in request.recipients}


def _checked(status: object) -> RecipientStatus:
    if status is None:
        return NO_ANSWER
    if not isinstance(status, RecipientStatus) or type(status.code) is not int:
        return NO_ANSWER._replace(error=f"it returned {type(status).__name__} for a recipient").cleaned()
    if not (200 <= status.code <= 599 and isinstance(status.text, str) and isinstance(status.error, str)):
        return NO_ANSWER._replace(error="it returned a status that is none")
    return status.cleaned()
