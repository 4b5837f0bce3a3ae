"""DATA and the last BDAT: receive a message, store it, and answer it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from maildir_safe._delivery.incoming import without_mbox_line
from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._smtp.backends.store import MailObject
from maildir_safe._smtp.protocol import replies, trace
from maildir_safe._smtp.protocol.data import PIECE, DataDecoder
from maildir_safe._smtp.protocol.replies import Refused

if TYPE_CHECKING:
    from maildir_safe._smtp.server.connection import Connection
    from maildir_safe._smtp.server.limits import MemoryReservation


async def receive(connection: Connection) -> list[RecipientStatus]:
    """Read the message that follows a 354, and store it.

    If the client hangs up after the end of the message, the delivery is still finished and logged.

    Returns:
        The status of each recipient.

    Raises:
        EndOfInput: the client left before the end of the message. Nothing is stored then.
        ConnectionError: a scripted fault has dropped the connection.
    """
    start = time.monotonic()
    reservation = connection.context.reservation()
    try:
        body = await _read(connection, reservation)
    except BaseException:
        reservation.release()
        raise
    return await store(connection, body, reservation, start)


async def store(
    connection: Connection, body: list[bytes], reservation: MemoryReservation, start: float
) -> list[RecipientStatus]:
    """Store a message that has arrived.

    Args:
        connection: the connection, with the envelope.
        body: the message as it is to be stored.
        reservation: its memory, released at the end.
        start: when it began to arrive, by the monotonic clock.

    Returns:
        The status of each recipient.

    Raises:
        ConnectionError: a scripted fault has dropped the connection.
    """
    try:
        mail = _mail_object(connection, body)
    except BaseException:
        reservation.release()
        raise
    connection.storing = True
    connection.context.delivering += 1
    try:
        return await _store(connection, mail, reservation, start)
    finally:
        connection.storing = False
        connection.context.delivering -= 1


async def _read(connection: Connection, reservation: MemoryReservation) -> list[bytes]:
    """Read the message in pieces. A refused message is still read to its end, but not kept."""
    source, body, since = connection.input, [], 0
    decoder = DataDecoder(source.data)
    while True:
        counted = decoder.size
        piece = decoder.decode()
        source.taken()
        if piece and reservation.add(decoder.size - counted):
            body.append(piece)
        elif reservation.refusal:
            body.clear()
        if decoder.ended:
            return body
        if decoder.size - since >= PIECE:
            since = decoder.size
            connection.restart_timer()  # a client must send 64 KiB, or the end, within each time-out
        if not piece:
            await source.more()


async def _store(
    connection: Connection, mail: MailObject, reservation: MemoryReservation, start: float
) -> list[RecipientStatus]:
    addresses = [recipient.address for recipient in mail.recipients]
    refused = connection.transaction.refused
    try:
        if reservation.refusal:
            raise Refused(reservation.refusal)
        await connection.fault("received", *addresses)
        results = await connection.context.store.store(mail)
    except Refused as refusal:
        results = same_status(refusal.reply, mail)
    except ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the client keeps the message
        results = same_status(replies.INTERNAL, mail, f"{type(error).__name__}: {error}")
    finally:
        reservation.release()
        mail.body = ()
    seconds = time.monotonic() - start
    answers, heard = results, ""
    try:
        await connection.fault("stored", *addresses)
    except Refused as refusal:
        answers, heard = same_status(refusal.reply, mail), refusal.reply
    except ConnectionError:
        heard = replies.DROPPED
        raise
    finally:
        if connection.gone and not heard:
            heard = replies.CLIENT_LEFT
        _record(connection, mail, reservation.received, results, seconds, refused, heard)
    return answers


def _record(
    connection: Connection,
    mail: MailObject,
    size: int,
    results: list[RecipientStatus],
    seconds: float,
    refused: list[str],
    heard: str,
) -> None:
    """Count and log the outcome. An error here does not change the reply."""
    context = connection.context
    try:
        context.counters.message(_outcome(results), seconds)
        context.log.message(connection, mail, size, results, seconds, refused=refused, answer=heard)
    except Exception as error:  # noqa: BLE001 - a caller's own log or counters may raise anything
        context.log.failure(connection, error)


def same_status(reply: str, mail: MailObject, error: str = "") -> list[RecipientStatus]:
    """The same status for each recipient."""
    return [RecipientStatus.from_reply(reply, error=error)] * len(mail.recipients)


def _mail_object(connection: Connection, body: list[bytes]) -> MailObject:
    transaction = connection.transaction
    recipients, sender = transaction.recipients, transaction.sender
    assert sender is not None
    via = trace.protocol(
        connection.lmtp,
        connection.extended,
        connection.encrypted,
        connection.authenticated,
        transaction.utf8,
    )
    only = recipients[0].address if len(recipients) == 1 else None
    hostname = connection.context.hostname
    header = trace.received(connection.client, connection.peer, hostname, via, only, time.time())
    if body:
        body[0] = without_mbox_line(body[0])  # as `deliver` does
    return MailObject(sender, recipients, header, body, transaction.envelope_id, transaction.dsn)


def _outcome(results: list[RecipientStatus]) -> str:
    """One of `counters.RESULTS`."""
    if all(result.stored for result in results):
        return "stored"
    return "refused" if replies.worst([result.reply for result in results])[0] == "5" else "deferred"
