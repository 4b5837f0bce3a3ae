"""LMTP (RFC 2033): like SMTP, but with LHLO, and with one reply per accepted recipient after DATA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maildir_safe._smtp.protocol.replies import Refused
from maildir_safe._smtp.server.session import SmtpSession

if TYPE_CHECKING:
    from maildir_safe._delivery.status import RecipientStatus


class LmtpSession(SmtpSession):
    """An LMTP connection."""

    lmtp = True
    protocol = "LMTP"
    greeting_verb = "LHLO"

    async def not_here(self, argument: str) -> None:  # noqa: ARG002
        """Refuse HELO and EHLO, which LMTP must not accept (RFC 2033 4.1)."""
        raise Refused("500 5.5.1 This is LMTP: say LHLO")

    async def _answer(self, results: list[RecipientStatus]) -> None:
        """Send one reply per accepted recipient, in the order of acceptance, in one write."""
        await self.reply("\r\n".join(result.reply for result in results))

    commands = {**SmtpSession.commands, "HELO": not_here, "EHLO": not_here, "LHLO": SmtpSession.ehlo}  # type: ignore[dict-item]
