"""The steps that `benchmarks.paired` times in one version of the package: for each line, a slice of each.

Only what every version has is used here: `Maildir` and `Queue`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from maildir_safe import Maildir, Queue

MESSAGE = b"Subject: benchmark\n\n" + b"x" * 4076
SENDER, TO = "s@example.org", ["r@example.org"]
SLICE, GROUP = 64, 32


def steps(place: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each step's name and what it does to a slice of messages; a step may use what the one before left."""
    box = Maildir(place / "box")
    queue = Queue(place / "spool", heartbeat=False)
    claims: list[Any] = []
    puts = [(MESSAGE, SENDER, TO)] * GROUP

    def many() -> None:
        for _ in range(SLICE // GROUP):
            box.deliver_many([MESSAGE] * GROUP)

    def claim() -> None:
        while len(claims) < SLICE:
            claims.extend(queue.claim())

    def ack() -> None:
        for one in claims:
            one.ack()
        claims.clear()

    def groups() -> None:
        for _ in range(SLICE // GROUP):
            queue.put_many(puts)
            held: list[Any] = []
            while len(held) < GROUP:
                held += queue.claim(GROUP - len(held))
            queue.ack_many(held)

    def clean() -> None:
        for file in (place / "box/new").iterdir():
            file.unlink()

    yield "deliver", lambda: [box.deliver(MESSAGE) for _ in range(SLICE)]
    yield (
        f"deliver_many({GROUP})",
        lambda: [box.deliver_many([MESSAGE] * GROUP) for _ in range(SLICE // GROUP)],
    )
    yield "", clean
    yield "put", lambda: [queue.put(MESSAGE, SENDER, TO) for _ in range(SLICE)]
    yield "claim", claim
    yield "ack", ack
    yield f"put, claim, ack in groups of {GROUP}", groups


def main(place: Path) -> None:
    """Answer each line with the seconds a message that each step took, as JSON."""
    all_steps = list(steps(place))
    for _ in sys.stdin:
        took = {}
        for name, step in all_steps:
            start = time.perf_counter()
            step()
            if name:
                took[name] = (time.perf_counter() - start) / SLICE
        print(json.dumps(took), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
