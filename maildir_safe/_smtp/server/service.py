"""From settings to a running service. Errors at the start are found here and explained to the operator."""

from __future__ import annotations

import asyncio
import contextlib
import os.path
import pathlib
import signal
import sys
import threading
from typing import TYPE_CHECKING

from maildir_safe import Maildir
from maildir_safe._fs.owner import as_owner
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._health.http import HealthServer, local_address
from maildir_safe._health.storage_check import StorageCheck
from maildir_safe._mailbox_tree import MailboxTree
from maildir_safe._mailboxes import Mailboxes, open_as_owner
from maildir_safe._notify import Notifier
from maildir_safe._queue.queue import Queue
from maildir_safe._smtp.backends import retention
from maildir_safe._smtp.backends.committer import Committers
from maildir_safe._smtp.backends.maildir_store import MaildirStore
from maildir_safe._smtp.backends.queue_store import QueueStore
from maildir_safe._smtp.backends.routing import CatchAll, MailboxMap, SplitMap
from maildir_safe._smtp.backends.split_mailboxes import SplitMailboxes
from maildir_safe._smtp.faults.chaos import Chaos
from maildir_safe._smtp.faults.faulty_fs import FaultyFileSystem
from maildir_safe._smtp.protocol.auth import Passwords
from maildir_safe._smtp.server import tls, workers
from maildir_safe._smtp.server.bind import address_of, is_local, listen
from maildir_safe._smtp.server.counters import Counters
from maildir_safe._smtp.server.limits import MemoryBudget
from maildir_safe._smtp.server.message_log import MessageLog
from maildir_safe._smtp.server.metered_fs import server_file_system
from maildir_safe._smtp.server.operator import tell
from maildir_safe._smtp.server.page import PageSetup
from maildir_safe._smtp.server.proxies import Proxies
from maildir_safe._smtp.server.relay import relay_of
from maildir_safe._smtp.server.reload import changed, read_parts
from maildir_safe._smtp.server.rights import become
from maildir_safe._smtp.server.server import Server, serve, turn_away
from maildir_safe._smtp.server.server_context import ServerContext
from maildir_safe._smtp.server.storage import (
    Descriptors,
    LastUsed,
    above_all,
    directory_of,
    prepare_storage,
    storage_trials,
)
from maildir_safe._smtp.server.transcripts import Transcripts
from maildir_safe._smtp.server.watchdog import keep_feeding
from maildir_safe.errors import MaildirSafeError

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Coroutine
    from typing import Any

    from maildir_safe._smtp.backends.routing import Routing
    from maildir_safe._smtp.backends.store import Store
    from maildir_safe._smtp.faults.faults import Faults
    from maildir_safe._smtp.server.page import Page
    from maildir_safe._smtp.server.settings import Settings


_DAY = 86400.0


class Service:
    """Everything that serving needs, opened: the sockets are bound, and the storage exists.

    Args:
        settings: the server's settings.
        faults: scripted faults, used if `settings.faults` names no file.
        log: where messages are logged; by default on standard error.
        page: serves the inbox page. Required if `settings.web` is set.
        reread: returns the settings as they are now, for SIGHUP; by default the same.

    Attributes:
        storage: a line for the operator: the Maildir or spool, and how durable it is.
        smtp_addresses, smtps_addresses, lmtp_addresses: the addresses that the server listens on, port 0
            resolved.
        web_address: the address of the inbox page, likewise; ``""`` without a page.
        web_scheme, web_root: ``http`` or ``https``, and the path of the page; ``""``: the root.
        metrics_address: the address of the health checks and metrics, likewise.
        budget: the limits of all processes together.
        warnings: lines that the operator should also see.
        ca: the file of the CA that signed the certificate made for this run, or None.

    Raises:
        CannotListen, NotAMaildir, ValueError, OSError: the service cannot start; the text says why.
        ImportError: a package of the `server` extra is missing.
    """

    def __init__(
        self,
        settings: Settings,
        faults: Faults | None = None,
        log: MessageLog | None = None,
        page: Page | None = None,
        reread: Callable[[], Settings] | None = None,
    ) -> None:
        settings.check()
        self._settings = settings
        self._reread = reread or (lambda: settings)
        self._relay = relay_of(settings)
        self._log = log or MessageLog(sys.stderr, settings.log_json)
        self._given_faults = faults
        self._parts = parts = read_parts(settings, faults=faults)
        self._proxies = Proxies(settings.proxy_from)
        self._routing: Routing = parts.map or _routing(settings)
        self.warnings: list[str] = []
        self.ca = parts.ca
        self._web_passwords = Passwords.read(settings.web_auth) if settings.web_auth else None
        self._web_tls: ssl.SSLContext | None = None
        if settings.web_tls and settings.web_tls == settings.tls:
            self._web_tls = parts.tls
        elif settings.web_tls:
            self._web_tls, ca = tls.server_context(settings.web_tls, settings.hostname, "--web-tls")
            self.ca = self.ca or ca
        self.web_scheme, self.web_root = "https" if self._web_tls else "http", settings.web_root
        self._context: ServerContext | None = None
        self._page = page
        self._notifier = Notifier()
        self._descriptors = Descriptors(settings.max_connections, bool(settings.web or settings.metrics))
        self.budget = self._budget()
        self._counters = Counters(settings.workers)
        self._last_used = LastUsed()
        self._reloading = threading.Lock()
        self._pid = os.getpid()
        self._fs = server_file_system(self._counters, parts.faults)
        # a server for users refuses nobody by chance, and other processes would not see the triggers
        is_test = settings.map is None and settings.queue is None and settings.workers == 1
        self._chaos = Chaos() if is_test else None
        self._transcripts = Transcripts() if is_test and settings.web else None
        self._smtp = [listen(address) for address in settings.smtp]
        mode = int(settings.lmtp_mode, 8) if settings.lmtp_mode else None
        self._lmtp = [listen(address, mode, settings.lmtp_group) for address in settings.lmtp]
        self._smtps = [listen(address) for address in settings.smtps]
        self.smtps_addresses = [address_of(sock) for sock in self._smtps]
        self.smtp_addresses = [address_of(sock) for sock in self._smtp]
        self.lmtp_addresses = [address_of(sock) for sock in self._lmtp]
        self._web: socket.socket | None = None
        self.web_address = ""
        if settings.web:
            if page is None:
                raise ValueError("web: no page was given to serve")
            self._web = listen(settings.web)
            self.web_address = address_of(self._web)
            self._warn_about_page(self._web)
        self._metrics = self._listen_for_scrapes()
        self.metrics_address = address_of(self._metrics) if self._metrics else ""
        # a proxy on this machine passes on what comes from elsewhere
        exposed = bool(settings.proxy_from) or not all(map(is_local, self._smtp + self._smtps + self._lmtp))
        if settings.queue and not settings.map and exposed and not parts.passwords:
            raise ValueError("an open relay: beyond this machine --queue needs --auth (and --tls), or --map")
        if parts.passwords and not parts.tls and exposed:
            raise ValueError("passwords would cross the network in clear text: --auth needs --tls")
        become(settings.user, settings.group)  # what follows touches mail
        self.storage = prepare_storage(settings)
        self._check = StorageCheck(self._trials(settings))

    def _warn_about_page(self, sock: socket.socket) -> None:
        if is_local(sock):
            return
        if self._web_passwords is None:
            self.warnings.append(
                f"{self.web_address}: whoever reaches the page can read and delete all mail; "
                "--web-auth FILE asks for a password"
            )
        elif self._web_tls is None:
            self.warnings.append(
                f"{self.web_address}: the page's passwords cross the network in clear text; "
                "--web-tls FILE encrypts them, or a proxy before it does"
            )

    def _trials(self, settings: Settings) -> dict[str, Callable[[], None]]:
        return storage_trials(settings, OsFileSystem(), self._last_used)

    def _listen_for_scrapes(self) -> socket.socket | None:
        if not self._settings.metrics:
            return None
        import prometheus_client  # noqa: F401 - if it is missing, say so at the start

        return listen(local_address(self._settings.metrics))

    def _budget(self) -> MemoryBudget:
        """The limits of connections and bytes. File descriptors limit the connections too."""
        settings = self._settings
        connections = self._descriptors.connections
        if connections < settings.max_connections:
            self.warnings.append(
                f"only {connections} connections, not {settings.max_connections}: a process may have no more "
                "files open (ulimit -n)"
            )
        return MemoryBudget(
            connections, settings.max_in_flight, settings.workers, settings.max_connections_per_address
        )

    def run(self, ready: Callable[[], None]) -> int:
        """Serve until SIGTERM or SIGINT, and return the exit status.

        SIGHUP reloads (see `maildir_safe._smtp.server.reload`). The service manager is told that the
        service is ready, that it works, reloads, and stops.

        Args:
            ready: called once signals are handled.
        """
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it reloads

        def started() -> None:
            ready()
            self._notifier.ready(self.storage)

        try:
            if self._settings.workers > 1:
                status = workers.supervise(
                    self._settings.workers, self._work, started, self._stopping, self._reload
                )
                for sock in {*self._smtp, *self._smtps, *self._lmtp} - self._kept():
                    turn_away(sock, sock in self._smtps)  # clients that came after the last worker had closed
                return status
            self._work(0, None, started, self._stopping)
            return 0
        finally:
            for address in [
                *self._settings.lmtp,
                *self._settings.smtp,
                self._settings.web,
                self._settings.metrics,
            ]:
                if "/" in address:
                    with contextlib.suppress(PermissionError):  # root made it, and the next start replaces it
                        pathlib.Path(address).unlink(missing_ok=True)

    def _work(
        self,
        number: int,
        parent: socket.socket | None,
        ready: Callable[[], None] = lambda: None,
        stopping: Callable[[], None] = lambda: None,
    ) -> None:
        self.budget.use_slot(number)
        self._counters.use_slot(number)
        background_tasks = self.background_tasks() if number == 0 else []
        if number == 0 and self._notifier.active:
            where = directory_of(self._settings)
            background_tasks.append(keep_feeding(self._notifier, OsFileSystem(), where, self.storage))
        asyncio.run(serve(self.server(), background_tasks, parent, ready, stopping, self._reload_running))

    async def _reload_running(self) -> None:
        await asyncio.to_thread(self._reload)

    def _reload(self) -> None:
        """Read again what can change; after an error everything stays. The first process tells about it."""
        with self._reloading:
            first = os.getpid() == self._pid
            if first:
                self._notifier.reloading("reads certificate, passwords, faults and map")
            try:
                told = self._adopt(self._reread())
            except (MaildirSafeError, ValueError, OSError, ImportError) as error:
                told = f"not reloaded, everything stays as it was: {error}"
            if first:
                tell(f"maildir-safe serve: {told}")
                self._notifier.ready(self.storage)

    def _adopt(self, settings: Settings) -> str:
        later = changed(self._settings, settings)
        self._parts = parts = read_parts(settings, self._parts, self._given_faults)
        if parts.map is not None and isinstance(self._routing, MailboxMap):
            self._routing.adopt(parts.map)
            self._check.watch(self._trials(settings))
        if parts.faults is not None and isinstance(self._fs, FaultyFileSystem):
            self._fs.follow(parts.faults)
        if self._context is not None:
            self._context.tls, self._context.passwords = parts.tls, parts.passwords
            self._context.faults = parts.faults
        return "reloaded" + (f"; these count after a restart: {', '.join(later)}" if later else "")

    def _stopping(self) -> None:
        self._notifier.stopping("the messages being received are finished")

    def server(self) -> Server:
        """The server of one process, not yet started."""
        settings = self._settings
        context = ServerContext(
            self._store(),
            self._log,
            self.budget,
            hostname=settings.hostname,
            max_size=settings.max_size,
            max_recipients=settings.max_recipients,
            timeout=settings.timeout,
            tls=self._parts.tls,
            passwords=self._parts.passwords,
            mechanisms=settings.auth_mechanisms,
            faults=self._parts.faults,
            chaos=self._chaos,
            transcripts=self._transcripts,
            counters=self._counters,
            storage=self._check,
            proxies=self._proxies,
        )
        self._context = context
        return Server(context, self._smtp, self._lmtp, settings.grace, self._kept(), self._smtps)

    def _kept(self) -> set[socket.socket]:
        """The listening sockets that a service manager keeps open."""
        addresses = [*self._settings.smtp, *self._settings.smtps, *self._settings.lmtp]
        pairs = zip(addresses, [*self._smtp, *self._smtps, *self._lmtp], strict=True)
        return {sock for address, sock in pairs if address.startswith("fd:")}

    def _store(self) -> Store:
        """The store. Each process opens its own."""
        mailboxes = self._mailboxes(self._descriptors.kept)
        repeats = self._settings.recognise_repeats
        # scripted faults are played in this process
        committers = None
        if not isinstance(self._fs, FaultyFileSystem):
            committers = Committers(self._counters, self._settings.staging)
        maildirs = MaildirStore(
            self._routing, mailboxes, self._descriptors.deliveries, repeats=repeats, committers=committers
        )
        if self._settings.queue is None:
            return maildirs
        queue = Queue(
            self._settings.queue, create=False, shared=False, fs=as_owner(self._fs, self._settings.queue)
        )
        known = maildirs if self._settings.map else None
        return QueueStore(queue, known, repeats=repeats, committers=committers)

    def _mailboxes(self, kept_open: int) -> Mailboxes:
        if isinstance(self._routing, SplitMap):
            return SplitMailboxes(
                self._routing, self._fs, kept_open=kept_open, staging=self._settings.staging
            )
        return Mailboxes(self._routing.candidates, self._open, kept_open=kept_open)

    def _open(self, path: str) -> Maildir:
        self._last_used.add(path)
        return open_as_owner(path, self._fs, staging=self._settings.staging)

    def background_tasks(self) -> list[Coroutine[Any, Any, None]]:
        """Tasks that only one process runs: the page, the health checks, and removing expired messages."""
        settings = self._settings
        work: list[Coroutine[Any, Any, None]] = []
        if self._web and self._page:
            work.append(self._page(self._page_setup(self._web)))
        if self._metrics:
            from maildir_safe._smtp.server.metrics import metrics_text

            health = HealthServer(self._check.fresh_trouble, lambda: metrics_text(self._counters))
            work.append(health.serve(self._metrics))
        if settings.keep is not None or settings.keep_days is not None:
            seconds = None if settings.keep_days is None else settings.keep_days * _DAY
            tree = MailboxTree(os.path.abspath(settings.maildir), settings.split or "")
            work.append(retention.keep_sweeping(tree, settings.keep, seconds, tell))
        return work

    def _page_setup(self, sock: socket.socket) -> PageSetup:
        settings = self._settings
        root, template = os.path.abspath(settings.maildir), settings.split or ""
        if settings.map is not None:
            root = above_all(settings.map)
            template = settings.map.removeprefix(root)
        return PageSetup(
            sock,
            root,
            template,
            self._mailboxes(kept_open=1) if template else None,
            [*self.smtp_addresses, *self.smtps_addresses, *self.lmtp_addresses],
            self._counters,
            self._check,
            self._chaos,
            settings.web_hosts,
            self._web_passwords,
            self._web_tls,
            settings.web_root,
            self._transcripts,
            self._relay,
            lambda: self._parts.faults,
            self.smtp_addresses[0] if self.smtp_addresses else "",
        )


def _routing(settings: Settings) -> Routing:
    root = os.path.abspath(settings.maildir)
    return CatchAll(root) if settings.split is None else SplitMap(root, settings.split)
