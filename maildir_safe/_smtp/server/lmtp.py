"""LMTP (RFC 2033): as SMTP, but greeted with LHLO, and answered once for each accepted recipient."""

from __future__ import annotations

from aiosmtpd.smtp import syntax

from maildir_safe._smtp.server.session import SmtpSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._smtp.backends.maildir_store import RecipientStatus


class LmtpSession(SmtpSession):
    """An LMTP connection."""

    lmtp = True

    @syntax("LHLO hostname")
    async def smtp_LHLO(self, arg: str | None) -> None:
        """LHLO: the greeting, answered as EHLO is."""
        await super().smtp_EHLO(arg)

    async def smtp_HELO(self, arg: str | None) -> None:  # noqa: ARG002
        """HELO must not be taken here (RFC 2033 4.1)."""
        await self.push("500 5.5.1 This is LMTP: say LHLO")

    async def smtp_EHLO(self, arg: str | None) -> None:
        """EHLO must not be taken here either."""
        await self.smtp_HELO(arg)

    async def check_helo_needed(self, helo: str = "LHLO") -> bool:
        """Whether the greeting is missing; says so."""
        return bool(await super().check_helo_needed(helo))

    async def _answer(self, results: list[RecipientStatus]) -> None:
        """One reply for each accepted recipient, in their order, in one write."""
        await self.push("\r\n".join(result.reply for result in results))
