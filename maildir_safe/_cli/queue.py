"""`maildir-safe queue`: inspects and changes a spool, for people and scripts."""

from __future__ import annotations

import argparse
import codecs
import io
import math
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from maildir_safe._cli import USAGE, queue_changes, queue_fence
from maildir_safe._cli.output import bytes_text, print_json, visible
from maildir_safe._delivery.incoming import Incoming
from maildir_safe._delivery.partial import PartialPut
from maildir_safe._queue.queue import Queue
from maildir_safe._queue.store.envelope import groups
from maildir_safe._queue.store.states import ITEM_STATES, RECIPIENT_STATES
from maildir_safe.errors import PermanentError, TemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from maildir_safe._queue.admin import QueueEntry

_CHANGES = {
    "hold": "pause a waiting item",
    "unhold": "release a paused item, or one in corrupt/ that turns out to be good",
    "retry": "retry a waiting, paused or failed item now, or one in corrupt/ that turns out to be good",
    "rm": "remove an item for good, without a bounce",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verbs and their arguments."""
    parser.description = (
        "Inspect and change a spool. Workers may run at the same time: an item that a worker has claimed is "
        "left to it. An ID may be shortened to a prefix that no other item has."
    )
    verbs = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def verb(name: str, what: str, *, item: bool = False, json: bool = False) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=what, description=what.capitalize() + ".")
        made.add_argument("spool", metavar="SPOOL")
        if item:
            made.add_argument("id", metavar="ID")
        if json:
            made.add_argument("--json", action="store_true", help="print JSON, one object per line")
        return made

    put = verb("put", "put the message on standard input into the queue, and print the ids of its items")
    put.add_argument("-f", "--sender", default="", metavar="ADDRESS", help="envelope sender (default: null)")
    put.add_argument(
        "--in", dest="delay", type=_seconds, metavar="SECONDS", help="wait this long before the first attempt"
    )
    put.add_argument("--each", action="store_true", help="one item per recipient (for Maildirs), not domain")
    put.add_argument("recipients", nargs="+", metavar="RECIPIENT")
    listing = verb("ls", "list the items", json=True)
    listing.add_argument("--state", help=f"only items in this state: {', '.join(ITEM_STATES)}")
    verb("show", "print an item: its envelope as headers, then the message", item=True)
    verb("why", "print the replies to the delivery attempts of an item", item=True, json=True)
    verb("stats", "count the items by state", json=True)
    queue_fence.add_arguments(verb("fence", queue_fence.DESCRIPTION))
    for name, what in _CHANGES.items():
        queue_changes.add_selection(verb(name, what), name)


def run(args: argparse.Namespace) -> int:
    """Run the action. Returns 0; 1 if it failed; for `put` 75 (try again) or 65 (never)."""
    if args.action == "put":
        return _put(args)
    queue = Queue(args.spool, create=False, shared=False)
    try:
        if args.action == "fence":
            return queue_fence.run(queue, args)
        if args.action in _CHANGES:
            return queue_changes.run(queue, args)
        return int(globals()[f"_{args.action}"](queue, args))
    except KeyError as error:
        print(f"maildir-safe queue: {visible(str(error.args[0]))}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"maildir-safe queue: {visible(str(error))}", file=sys.stderr)
        return USAGE


def _put(args: argparse.Namespace) -> int:
    not_before = None if args.delay is None else time.time() + args.delay
    together = groups(args.recipients, args.each)
    try:
        message = _interruptible(_message)
        queue = Queue(args.spool, shared=False)
        items = [(message, args.sender, group) for group in together]
        _print_ids(queue.put_many(items, not_before=not_before))
    except PartialPut as partial:
        _print_ids([result for result in partial.results if isinstance(result, str)])
        pairs = zip(together, partial.results, strict=True)
        left = ", ".join(", ".join(group) for group, result in pairs if not isinstance(result, str))
        print(f"{partial.status} {visible(str(partial))}; not put: for {visible(left)}", file=sys.stderr)
        return 75
    except (TemporaryError, PermanentError) as error:
        print(f"{error.status} {visible(str(error))}", file=sys.stderr)
        return 65 if isinstance(error, PermanentError) else 75
    return 0


def _message() -> bytes:
    """Read standard input as `deliver` does: without an envelope line ``From ``, with LF line ends."""
    incoming = Incoming(getattr(sys.stdin.buffer, "raw", sys.stdin.buffer))
    return incoming.start if incoming.whole else b"".join(iter(incoming.read, b""))


def _interruptible(read: Callable[[], bytes]) -> bytes:
    """Call `read`, in which SIGTERM, SIGHUP and SIGINT mean that nothing is put. Before and after they wait.

    Raises:
        TemporaryError: one of them came.
    """
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    held = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
        return read()
    except KeyboardInterrupt:
        raise TemporaryError("interrupted; nothing was put") from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _print_ids(ids: list[str]) -> None:
    """Print the ids. An error here does not change the exit code: the items are in the queue."""
    try:
        for ident in ids:
            print(ident)
        sys.stdout.flush()
    except OSError as error:
        sys.stdout = io.StringIO()  # flushing the old buffer would fail again
        try:
            text = f"put as {', '.join(ids)}; cannot write to standard output: {error.strerror}"
            print(text, file=sys.stderr, flush=True)
        except OSError:  # cron sends both to one file, on one full disk
            sys.stderr = io.StringIO()


def _seconds(text: str) -> float:
    seconds = float(text)
    if not (seconds >= 0 and math.isfinite(seconds)):
        raise argparse.ArgumentTypeError(f"must be a number of seconds from now, not {text}")
    return seconds


def _ls(queue: Queue, args: argparse.Namespace) -> int:
    for listed in queue.items(args.state):
        facts = _facts(queue, listed)
        if args.json:
            print_json(facts)
            continue
        who = ", ".join(f"{one['address']} ({one['state']})" for one in facts["recipients"])
        size, when = bytes_text(listed.item.size), time.strftime("%F %T", time.localtime(listed.item.arrived))
        print(f"{listed.item.id}  {listed.state:<8} {size:>9}  {when}  <{visible(facts['sender'])}>")
        print(f"    to {visible(who)}; tried {listed.item.tries} times{_next(listed)}")
    return 0


def _facts(queue: Queue, listed: QueueEntry) -> dict[str, Any]:
    """An item as JSON, with the keys of `postqueue -j` and more."""
    envelope = queue.envelope(listed)
    return {
        "queue_name": listed.state,
        "queue_id": listed.item.id,
        "arrival_time": listed.item.arrived,
        "message_size": listed.item.size,
        "forced_expire": False,
        "sender": envelope.sender if envelope else "",
        "recipients": [
            {"address": address, "state": RECIPIENT_STATES[letter]}
            for address, letter in (
                zip(envelope.recipients, envelope.states, strict=True) if envelope else ()
            )
        ],
        "tries": listed.item.tries,
        "not_before": listed.item.not_before,
        "path": listed.path,
    }


def _next(listed: QueueEntry) -> str:
    if listed.state != "pending" or not listed.item.not_before:
        return ""
    return time.strftime(", next not before %F %T", time.localtime(listed.item.not_before))


def _show(queue: Queue, args: argparse.Namespace) -> int:
    to_terminal, text = sys.stdout.isatty(), codecs.getincrementaldecoder("utf-8")("replace")
    sys.stdout.flush()
    for piece in queue.contents(queue.find(args.id)):
        if to_terminal:  # text from a stranger must not control the terminal
            print(visible(text.decode(piece), keep="\n\t"), end="")
        else:
            sys.stdout.buffer.write(piece)
    if to_terminal:
        print(text.decode(b"", final=True))
    return 0


def _why(queue: Queue, args: argparse.Namespace) -> int:
    for note in queue.why(args.id):
        if args.json:
            print_json(note)
            continue
        when = time.strftime("%F %T", time.localtime(note.get("at", 0)))
        if "text" in note:
            print(f"{when}  {visible(str(note['text']))}")
        for recipient, (code, text, error) in note.get("recipients", {}).items():
            detail = f" ({visible(error)})" if error else ""
            print(f"{when}  {visible(recipient)}: {code} {visible(text)}{detail}")
    return 0


def _stats(queue: Queue, args: argparse.Namespace) -> int:
    stats = queue.stats()
    if args.json:
        print_json(stats)
    else:
        for state, count in stats.items():
            print(f"{state:<11} {count}{' s' if state == 'oldest_age' else ''}")
    return 0
