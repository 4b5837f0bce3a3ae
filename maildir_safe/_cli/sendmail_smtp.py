"""`sendmail -bs`: SMTP on standard input and output, as mail libraries speak it to a sendmail they start.

The session is the server's own. It talks over a socket pair, so that standard input may be a pipe, a file or
a terminal. What it accepts is completed as by `sendmail` without ``-bs``, and durable before the 250.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

from maildir_safe._delivery.dsn import Dsn
from maildir_safe._delivery.status import RecipientStatus, one_line
from maildir_safe._smtp.protocol import replies
from maildir_safe._smtp.protocol.replies import Refused
from maildir_safe._smtp.server.limits import MemoryBudget
from maildir_safe._smtp.server.message_log import MessageLog
from maildir_safe._smtp.server.server_context import ServerContext
from maildir_safe._smtp.server.session import SmtpSession
from maildir_safe._submission import Rejected, spool
from maildir_safe._submission.mailbox_list import complete_address
from maildir_safe._submission.message import Submitted
from maildir_safe.errors import MaildirSafeError

if TYPE_CHECKING:
    from maildir_safe._queue.puts import QueuePuts
    from maildir_safe._smtp.backends.store import MailObject
    from maildir_safe._submission.settings import Settings

_TIMEOUT = 300.0  # seconds that the program may be silent
_GRACE = 60.0  # seconds to finish a message after a signal
_MOST_RECIPIENTS = 1000
_PIECE = 1 << 16
_STOPPED = 75


class SubmissionStore:
    """Puts what the session accepts into the queue, completed as a submission.

    Args:
        queue: the spool.
        settings: of `sendmail`.
        user: the address of the calling user.
    """

    test_mode = False
    sends_reports = True
    keeps_binary = False
    busy = False

    def __init__(self, queue: QueuePuts, settings: Settings, user: str) -> None:
        self._queue = queue
        self._settings = settings
        self._user = user

    def close(self) -> None:
        """See `Store.close`: nothing runs."""

    async def locate(self, address: str) -> str:
        """See `Store.locate`: everybody is accepted whom `store` can then put into the queue."""
        try:
            self._settings.expanded([self._whole(address)])
        except Rejected as error:
            raise Refused(f"550 5.1.1 {one_line(str(error), 400)}") from error
        except MaildirSafeError as error:
            raise Refused(f"451 4.3.0 {one_line(str(error), 400)}") from error
        return self._queue.path

    async def store(self, mail: MailObject) -> list[RecipientStatus]:
        """See `Store.store`."""
        status = await asyncio.to_thread(self._stored, mail)
        return [status] * len(mail.recipients)

    def _stored(self, mail: MailObject) -> RecipientStatus:
        settings = self._settings
        try:
            given = Submitted(
                b"".join(mail.body), settings.domain, settings.masked if settings.masquerade else None
            )
            sender = settings.masked(self._whole(mail.sender)) if mail.sender else ""
            recipients = settings.expanded([self._whole(one.address) for one in mail.recipients])
            unique = f"{time.time_ns()}.{os.urandom(8).hex()}"
            whole = given.completed(sender or self._user, "", time.time(), unique)
            put = spool.put(self._queue, (mail.received, *whole), [(sender, recipients)], self._dsn(mail.dsn))
        except Rejected as error:
            return RecipientStatus(554, f"5.6.0 {one_line(str(error), 400)}")
        except MaildirSafeError as error:
            return RecipientStatus.from_reply(replies.for_error(error), error=str(error))
        return RecipientStatus(250, f"2.0.0 Queued as {put[0]}", stored=put[0])

    def _whole(self, address: str) -> str:
        return complete_address(address, self._settings.domain)

    def _dsn(self, dsn: Dsn | None) -> Dsn | None:
        if not dsn:
            return None
        notify = {self._whole(who): words for who, words in dsn.notify.items()}
        originals = {self._whole(who): original for who, original in dsn.originals.items()}
        return Dsn(dsn.returns, dsn.envelope_id, notify, originals)


class _Session(SmtpSession):
    """The only connection of this process.

    Args:
        context: the rules.
        ended: set when the connection is over.
    """

    def __init__(self, context: ServerContext, ended: asyncio.Event) -> None:
        super().__init__(context)
        self._ended = ended

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is closed."""
        super().connection_lost(error)
        self._ended.set()


def converse(settings: Settings, user: str) -> int:
    """Speak SMTP on descriptors 0 and 1 until QUIT or the end of the input.

    Args:
        user: the address of the calling user.

    Returns:
        0; 75 if a signal ended the session. A message that was not answered with 250 is still the caller's.

    Raises:
        TemporaryError, Rejected: the spool cannot be used; nothing was said then.
    """
    queue = spool.open_spool(settings.own_spool)
    return asyncio.run(_converse(SubmissionStore(queue, settings, user), settings))


async def _converse(store: SubmissionStore, settings: Settings) -> int:
    loop, ended, stopped = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    numbers = signal.SIGTERM, signal.SIGHUP, signal.SIGINT
    for number in numbers:
        loop.add_signal_handler(number, stopped.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    context = ServerContext(
        store,
        MessageLog(None),
        MemoryBudget(1, 2 * settings.size_limit),
        hostname=settings.host,
        max_size=settings.size_limit,
        max_recipients=_MOST_RECIPIENTS,
        timeout=_TIMEOUT,
    )
    ours, theirs = socket.socketpair()
    output = threading.Thread(target=_copy_out, args=(ours,), daemon=True)
    output.start()
    await loop.create_connection(lambda: _Session(context, ended), sock=theirs)
    threading.Thread(target=_copy_in, args=(ours,), daemon=True).start()
    waits = [asyncio.ensure_future(event.wait()) for event in (ended, stopped)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    if not ended.is_set():
        await context.close(_GRACE)
    for wait in waits:
        wait.cancel()
    await asyncio.to_thread(output.join, _GRACE)
    return _STOPPED if stopped.is_set() else 0


def _copy_in(ours: socket.socket) -> None:
    try:
        with open(0, "rb", buffering=0, closefd=False) as stdin:
            while data := stdin.read(_PIECE):
                ours.sendall(data)
    except OSError:
        pass  # as if it had ended
    try:
        ours.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the session is over


def _copy_out(ours: socket.socket) -> None:
    try:
        with open(1, "wb", buffering=0, closefd=False) as stdout:
            while data := ours.recv(_PIECE):
                while data:
                    data = data[stdout.write(data) :]
    except OSError:  # nobody listens any more
        ours.close()
