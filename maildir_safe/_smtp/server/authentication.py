"""AUTH (RFC 4954). In test mode without a password file, any password is accepted."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

from maildir_safe._smtp.protocol import auth, replies
from maildir_safe._smtp.protocol.extension import Extension, xtext
from maildir_safe._smtp.protocol.replies import Refused
from maildir_safe._smtp.server.input import LineTooLong
from maildir_safe._smtp.server.throttle import TooManyTries

if TYPE_CHECKING:
    from maildir_safe._smtp.server.connection import Connection

_MAX_LINE = 12288  # bytes of a client's response (RFC 4954 4.5)


async def authenticate(connection: Connection, argument: str) -> None:
    """AUTH, by one of the mechanisms that are offered."""
    mechanism, _, initial = argument.partition(" ")
    if not mechanism:
        raise Refused("501 5.5.4 Syntax: AUTH mechanism")
    context = connection.context
    if not context.offers_auth(connection.encrypted):
        raise Refused("538 5.7.11 Encryption required" if context.passwords else "502 5.5.1 No AUTH here")
    if connection.authenticated or connection.transaction.sender is not None or not connection.client:
        raise Refused("503 5.5.1 AUTH comes once, after EHLO and before MAIL")

    async def ask(challenge: bytes) -> bytes:
        await connection.reply(f"334 {challenge.decode()}")
        try:
            return (await connection.input.line(_MAX_LINE)).strip()
        except LineTooLong:
            raise Refused(replies.LINE_TOO_LONG) from None

    name, password = await auth.credentials(mechanism.upper(), initial.strip(), ask, context.mechanisms)
    if context.passwords is not None:
        await _check(connection, name, password)
    await connection.fault("auth", name)
    connection.authenticated = True
    await connection.reply("235 2.7.0 Authentication successful")


async def _check(connection: Connection, name: str, password: str) -> None:
    """Check a password. Raises `Refused`.

    The reply to a wrong password is delayed, and each further one from the same address is delayed longer.
    """
    context = connection.context
    assert context.passwords is not None
    check = functools.partial(context.passwords.check, name, password)
    try:
        right = await context.checks.run(check, connection.peer)
    except TooManyTries:
        raise Refused("454 4.7.0 Too many passwords are being checked, try again later") from None
    if right:
        context.guesses.forget(connection.peer)
        return
    context.log.wrong_password(connection, name)
    connection.wrong_passwords += 1
    await asyncio.sleep(context.guesses.wrong(connection.peer))
    if connection.wrong_passwords >= auth.MAX_FAILURES:
        raise Refused("421 4.7.0 Too many wrong passwords")
    raise Refused("535 5.7.8 Authentication credentials invalid")


AUTH = Extension(
    lambda offer: "AUTH " + " ".join(offer.auth) if offer.auth else "",
    mail={"AUTH": xtext},
    verbs={"AUTH": authenticate},
)
