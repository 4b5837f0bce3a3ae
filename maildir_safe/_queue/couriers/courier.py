"""The interface between the worker and the couriers that deliver its items.

A courier is any function of one argument:

    def courier(request: DeliveryRequest) -> dict[str, RecipientStatus]:
        ...

A courier returns one status per recipient. It does not change the queue; the worker does. A courier may
implement more protocols. `DeliversFiles` is for a courier whose recipients have Maildirs, into which
the worker may rename an item's file. `HasDestinations` is for a courier that groups recipients by something
other than the domain, such as the mount that they wait for. `HoldsConnections` is for a courier that keeps
connections open. `HasRoutes` is for a courier that sends by different servers. `Relays` is for a courier to
other mail servers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from maildir_safe._delivery.status import RecipientStatus
from maildir_safe.errors import LeaseLost, PermanentError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from maildir_safe._delivery.dsn import Dsn
    from maildir_safe._maildir.maildir import Maildir

log = logging.getLogger("maildir_safe.queue")

NO_ANSWER = RecipientStatus(451, "4.3.0 the courier gave no answer")


@dataclass(frozen=True, slots=True)
class DeliveryRequest:
    """A message on its way to a courier.

    Attributes:
        id: of the item; the same in all attempts, so that a receiver may recognise a retry.
        sender: envelope sender; ``""`` for a bounce.
        recipients: the recipients who are still owed the message.
        open: opens the message as a binary file at its first byte; may be called repeatedly.
        confirm: must be called just before the step that cannot be undone. Raises `LeaseLost` if another
            worker has taken over the item.
        dsn: the reports that the sender asks for, to be passed on; None if the sender did not say.
    """

    id: str
    sender: str
    recipients: tuple[str, ...]
    open: Callable[[], BinaryIO]
    confirm: Callable[[], None]
    dsn: Dsn | None = None


class Courier(Protocol):
    """Delivers messages. Any such function will do; it is called from several threads at once."""

    def __call__(self, request: DeliveryRequest, /) -> Mapping[str, RecipientStatus] | None:
        """Deliver a message.

        Returns:
            One status per recipient, or None if all have the message. Missing recipients are retried.

        Raises:
            PermanentError: no recipient can ever have it. All have failed, and the bounce has its text.
            Exception: as far as is known, no recipient has it. All are retried.
        """


@runtime_checkable
class DeliversFiles(Protocol):
    """A courier whose recipients have Maildirs.

    If an item has one recipient, the worker does not call the courier. It asks the courier for the
    recipient's Maildir, and moves the item's own file there: exactly once, in one rename.
    """

    def deliver_file(self, recipient: str, move: Callable[[Maildir], object]) -> RecipientStatus:
        """Call `move` with the recipient's Maildir, and return the status.

        Args:
            move: moves the file there. A `MaildirSafeError` that it raises becomes the status, except
                `LeaseLost`, which is passed on.
        """


@runtime_checkable
class HasDestinations(Protocol):
    """A courier that knows which recipients depend on the same resource, such as a mount.

    While a delivery to a destination is stalled, the worker starts no other one there.
    """

    def destination(self, recipient: str) -> str:
        """The destination of a recipient, as any text. This call must not touch a resource that may hang."""


@runtime_checkable
class HasRoutes(Protocol):
    """A courier that chooses the next server by the sender.

    A server that cannot be reached must not hold up what goes to the same domains by another one.
    """

    def route(self, sender: str) -> str:
        """The way that a sender's mail takes, as any text; ``""`` for the usual one."""


@runtime_checkable
class HoldsConnections(Protocol):
    """A courier that keeps connections open between two messages."""

    def close(self) -> None:
        """End the connections that are not in use. The worker calls it when it has nothing more to send."""


@runtime_checkable
class Relays(Protocol):
    """A courier to other mail servers: reports say that a message was relayed, not delivered.

    Attributes:
        relays: True.
    """

    relays: bool


def domain_of(recipient: str) -> str:
    """The destination of a recipient, unless the courier has its own (`HasDestinations`)."""
    return recipient.rpartition("@")[2].lower()


def destination_of(
    courier: Courier, ident: str, recipient: str, sender: str
) -> tuple[str, RecipientStatus | None]:
    """The destination of a recipient of the item `ident`; with a status if the courier cannot tell."""
    try:
        route = courier.route(sender) if isinstance(courier, HasRoutes) else ""
        own = isinstance(courier, HasDestinations)
        destination = courier.destination(recipient) if own else domain_of(recipient)  # type: ignore[attr-defined]
        if not isinstance(destination, str):
            raise TypeError(f"destination returned {type(destination).__name__}")
        if route:
            destination = f"{destination} by {route}"
    except Exception as error:  # noqa: BLE001 - a courier may be anybody's code
        return "", status_of_failure(ident, error)
    return destination, None


def close_connections(*couriers: object) -> None:
    """End the idle connections of those that have any."""
    for courier in couriers:
        if isinstance(courier, HoldsConnections):
            courier.close()


def same_status(request: DeliveryRequest, status: RecipientStatus) -> dict[str, RecipientStatus]:
    """The same status for every recipient."""
    return dict.fromkeys(request.recipients, status)


def answer_of(
    courier: Courier, request: DeliveryRequest, move: Callable[[Maildir], object] | None = None
) -> dict[str, RecipientStatus]:
    """Call a courier, and return one status per recipient whatever it returns or raises.

    Args:
        move: moves the item's own file into a Maildir, if the courier is one of `DeliversFiles`; None: it
            must be copied.

    Raises:
        LeaseLost: nothing was sent.
    """
    try:
        request.confirm()
        if move is not None and isinstance(courier, DeliversFiles):
            who = request.recipients[0]
            return checked({who: courier.deliver_file(who, move)}, request)
        given: object = courier(request)
        return checked(given, request)
    except LeaseLost:
        raise
    except Exception as error:  # noqa: BLE001 - a courier may be anybody's code
        return same_status(request, status_of_failure(request.id, error))


def status_of_failure(ident: str, error: Exception) -> RecipientStatus:
    """The status for what a courier raised about the item `ident`: 550 for PermanentError, else 451."""
    if isinstance(error, PermanentError):
        return RecipientStatus(550, f"{error.status} {error}").cleaned()
    with suppress(Exception):
        log.warning("%s: the courier raised %r", ident, error)
    return RecipientStatus(451, "4.3.0 it cannot be sent now", f"{type(error).__name__}: {error}").cleaned()


def checked(given: object, request: DeliveryRequest) -> dict[str, RecipientStatus]:
    """One status per recipient, whatever the courier returned; an invalid status becomes a 451."""
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
        return NO_ANSWER._replace(error="it returned an invalid status")
    return status.cleaned()
