"""What tests of submission share: what is in a spool."""

from __future__ import annotations

from pathlib import Path

from maildir_safe import Queue


def queued(spool: Path) -> list[tuple[str, tuple[str, ...], bytes]]:
    """Sender, recipients and message of each item, in the order of the recipients."""
    queue = Queue(spool, create=False)
    found = []
    for entry in queue.items():
        envelope = queue.envelope(entry)
        assert envelope is not None
        message = b"".join(queue.contents(entry)).split(b"\n", 1 + len(envelope.recipients))[-1]
        found.append((envelope.sender, envelope.recipients, message))
    return sorted(found, key=lambda item: item[1])
