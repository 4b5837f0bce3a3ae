"""What tests of submission share: what is in a spool."""

from __future__ import annotations

import io
from pathlib import Path

from maildir_safe import Queue
from maildir_safe._queue.store import envelope


def queued(spool: Path) -> list[tuple[str, tuple[str, ...], bytes]]:
    """Sender, recipients and message of each item, in the order of the recipients."""
    queue = Queue(spool, create=False)
    found = []
    for entry in queue.items():
        file = io.BytesIO(b"".join(queue.contents(entry)))
        found_in = envelope.read(file, entry.item.states)
        found.append((found_in.sender, found_in.recipients, file.read()))
    return sorted(found, key=lambda item: item[1])
