"""A progress bar on standard error, if that is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[float, str], None]]:
    """Yield a function to call with the share done (0 to 1) and a few words.

    With `rich` (extra ``cli``) it draws a bar with the time left; without, it overwrites one line.
    """
    if not sys.stderr.isatty():
        yield lambda share, words: None  # noqa: ARG005
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        start = time.monotonic()

        def tell(share: float, words: str) -> None:
            left = (time.monotonic() - start) * (1 - share) / share if share else 0.0
            print(f"\r{title}: {share:4.0%} {left:4.0f} s left, {words}\033[K", end="", file=sys.stderr)

        yield tell
        print(file=sys.stderr)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0, words="")
        yield lambda share, words: bar.update(task, completed=share, words=words)
