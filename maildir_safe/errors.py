"""What can go wrong with a message, and what the caller still owns when it does.

A handoff has three outcomes (docs/explanation/handoff.md):

* It happened: no exception.
* It did not happen and never will: `TemporaryError` or `PermanentError`.
* It cannot be determined: `UnknownOutcome`. This is a `TemporaryError`, because the caller must
  keep the message and may retry.

Storage errors are always temporary: a full disk is not a reason to bounce mail.
"""

from __future__ import annotations

import errno
import os


class MaildirSafeError(Exception):
    """Base of every error that this package raises on purpose.

    `status` is the enhanced mail status code (RFC 3463) to report to an MTA.
    """

    status = "4.3.0"


class TemporaryError(MaildirSafeError):
    """The message was not accepted; a later retry may succeed.

    The caller still owns the message and must keep it for the retry. Nothing of it is visible in the
    Maildir or the queue. For an MTA: exit 75 (EX_TEMPFAIL), SMTP 451.
    """


class PermanentError(MaildirSafeError):
    """The message was not accepted, and a retry with the same message cannot succeed.

    The caller still owns the message and should notify its sender. Never raised for a storage
    error. For an MTA: exit 65 (EX_DATAERR), SMTP 5xx.
    """

    status = "5.6.0"


class UnknownOutcome(TemporaryError):
    """The message may or may not have been accepted; looking at the directories did not decide it.

    The caller still owns the message. A retry never loses the message. A retry with the same
    `delivery_id` does not make a second copy either (docs/explanation/handoff.md, "Unknown").

    Attributes:
        path: where the message is, if it was accepted. Never removed by this package.
    """

    def __init__(self, text: str, path: str | None = None) -> None:
        super().__init__(text)
        self.path = path


class LeaseLost(UnknownOutcome):
    """This worker was fenced: another worker may have taken over the item it was working on.

    The item is back in the queue or already with another worker. If the requested move had been
    executed and only its reply was lost, the item is where that move put it. The item is never
    lost, and the caller must not act on it any more (docs/explanation/queue.md, "Leases").
    """


class NotAMaildir(TemporaryError):
    """The path is not a usable Maildir: something is missing or is not a directory.

    Temporary on purpose: an unmounted share or a Coda conflict looks exactly like this, and
    neither must bounce mail.
    """

    status = "4.2.0"


class QuotaExceeded(TemporaryError):
    """The Maildir's own quota (`maildirsize`, Maildir++) has no room for the message."""

    status = "4.2.2"


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def storage_error(what: str, error: OSError) -> TemporaryError:
    """Return a `TemporaryError` that names the failed step and the system's error.

    Args:
        what: the step and its object, for example ``"fsync tmp/1763.M1P2Q3"``.
        error: the error from the operating system.
    """
    if error.errno is None:  # a stream's own text, for example "cannot read from timed out object"
        return TemporaryError(f"{what}: {error}")
    name = errno.errorcode.get(error.errno, "unknown error")
    failure = TemporaryError(f"{what}: {os.strerror(error.errno)} [{name}]")
    if error.errno in _FULL:
        failure.status = "4.3.1"
    return failure


def fsync_failed(directory: str, path: str, error: OSError) -> UnknownOutcome:
    """Return the `UnknownOutcome` for a message at `path`, in a directory whose fsync failed."""
    return UnknownOutcome(
        f"{storage_error(f'fsync {directory}', error)}; {path} is there, perhaps not durable", path
    )
