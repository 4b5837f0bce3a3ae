"""A courier of your own: a worker that hands each message of a queue to a program.

    python3 courier.py SPOOL PROGRAM

The program gets the message on standard input and the recipients as arguments. Its exit code decides,
as in sysexits.h: 0 delivered, 65 and 67 refused for good, everything else is tried again later.
"""

import subprocess
import sys

from maildir_safe import DeliveryRequest, Queue, RecipientStatus, Worker

PERMANENT = (65, 67)  # EX_DATAERR, EX_NOUSER


class ProgramCourier:
    """Hands messages to a program."""

    def __init__(self, program: str) -> None:
        self._program = program

    def __call__(self, request: DeliveryRequest) -> dict[str, RecipientStatus]:
        """One status for all recipients: the program answers for all of them."""
        with request.open() as file:
            message = file.read()
        request.confirm()  # another worker may have taken over: then this raises, and nothing runs
        done = subprocess.run([self._program, *request.recipients], input=message, check=False)
        code = 250 if done.returncode == 0 else 554 if done.returncode in PERMANENT else 451
        return dict.fromkeys(request.recipients, RecipientStatus(code, f"exit code {done.returncode}"))


if __name__ == "__main__":
    with Queue(sys.argv[1], create=False) as queue:
        Worker(queue, ProgramCourier(sys.argv[2])).run_once()
