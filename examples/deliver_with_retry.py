"""Deliver each file of a directory into a Maildir, once, and keep what could not be delivered.

    python3 deliver_with_retry.py OUTGOING MAILDIR

A file is removed only when its message is durable in the Maildir. The file's name is the delivery id,
so a second run after a crash or an ambiguous outcome makes no second copy. Run it from cron.
"""

import sys
from pathlib import Path

from maildir_safe import Maildir, PermanentError, TemporaryError


def main(outgoing: Path, target: str) -> int:
    """Deliver all files; 0 if none is left, 75 if some are to be tried again."""
    try:
        maildir = Maildir(target)
    except TemporaryError as error:  # not mounted, no permission, in conflict
        print(error, file=sys.stderr)
        return 75
    left = 0
    for path in sorted(outgoing.iterdir()):
        try:
            with path.open("rb") as message:
                maildir.deliver(message, delivery_id=path.name)
        except TemporaryError as error:
            print(f"{path.name} stays: {error}", file=sys.stderr)
            left += 1
        except PermanentError as error:
            print(f"{path.name} cannot be delivered: {error}", file=sys.stderr)
            path.rename(path.with_name(f".refused-{path.name}"))
        else:
            path.unlink()
    return 75 if left else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
