"""What the inbox page needs from the server that it runs beside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Coroutine
    from typing import Any

    from maildir_safe._health.storage_check import StorageCheck
    from maildir_safe._mailboxes import Mailboxes
    from maildir_safe._smtp.faults.chaos import Chaos
    from maildir_safe._smtp.faults.faults import Faults
    from maildir_safe._smtp.protocol.auth import Passwords
    from maildir_safe._smtp.server.counters import Counters
    from maildir_safe._smtp.server.relay import Relay
    from maildir_safe._smtp.server.transcripts import Transcripts

    Page = Callable[["PageSetup"], Coroutine[Any, Any, None]]
    """Serves the inbox page until cancelled."""


@dataclass
class PageSetup:
    """What the page shows, and to whom.

    Attributes:
        sock: a listening socket.
        root: the Maildir, or the directory above the Maildirs.
        template: the paths of the Maildirs below `root`; ``""``: `root` is the one Maildir.
        mailboxes: finds the Maildir of an address, if there is a template.
        addresses: the addresses that accept mail.
        counters: the counts for the metrics.
        check: tells whether mail can be stored.
        chaos: the random refusals that the page's programs may set; None: they may not.
        hosts: names under which the page is served, besides addresses and this machine's own name.
        passwords: who may see the page; None: everybody who reaches it.
        tls: makes the page's connections TLS; None: clear text.
        prefix: the path under which the page is, such as ``/mail``; ``""``: the root of the host.
        transcripts: what was said on the last connections; None: nobody remembers.
        relay: where programs may release messages to; None: nowhere.
        script: returns the scripted faults as they are now, or None.
        smtp: where it takes mail by SMTP; ``""``: nowhere.
    """

    sock: socket.socket
    root: str
    template: str
    mailboxes: Mailboxes | None
    addresses: list[str]
    counters: Counters
    check: StorageCheck
    chaos: Chaos | None
    hosts: list[str] = field(default_factory=list)
    passwords: Passwords | None = None
    tls: ssl.SSLContext | None = None
    prefix: str = ""
    transcripts: Transcripts | None = None
    relay: Relay | None = None
    script: Callable[[], Faults | None] = lambda: None
    smtp: str = ""
