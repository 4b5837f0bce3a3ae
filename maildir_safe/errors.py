"""What can go wrong with a message, and what the caller still owns when it does.

Three outcomes of a handover, and so three exceptions (docs/explanation/handoff.md):

* it did not happen and never will: `TemporaryError` or `PermanentError`;
* it happened: no exception;
* nobody can tell: `UnknownOutcome`, which is a `TemporaryError`, because the caller must
  keep the message and may try again.

Storage errors are always temporary: a full disk is no reason to bounce mail.
"""

from __future__ import annotations

import errno
import os


class MaildirSafeError(Exception):
    """Base of every error that this package raises on purpose.

    `status` is the enhanced mail status code (RFC 3463) that an MTA may be told.
    """

    status = "4.3.0"


class TemporaryError(MaildirSafeError):
    """The message was not taken; trying again later may succeed.

    The caller still owns the message: keep it and try again. Nothing of it is visible in the
    Maildir or the queue. For an MTA: exit 75 (EX_TEMPFAIL), SMTP 451.
    """


class PermanentError(MaildirSafeError):
    """The message was not taken, and trying again with the same message cannot succeed.

    The caller still owns the message and should tell its sender. Never raised for a fault of
    the storage. For an MTA: exit 65 (EX_DATAERR), SMTP 5xx.
    """

    status = "5.6.0"


class UnknownOutcome(TemporaryError):
    """The message may or may not have been taken; looking did not tell.

    The caller still owns the message. Trying again is safe against loss, and safe against a
    second copy as well when the same `delivery_id` is given again
    (docs/explanation/handoff.md, "Unknown").

    Attributes:
        path: where the message is, if it was taken. Never removed by this package.
    """

    def __init__(self, text: str, path: str | None = None) -> None:
        super().__init__(text)
        self.path = path


class LeaseLost(UnknownOutcome):
    """This worker was fenced: another may have taken over the item it was working on.

    The item is back in the queue, or already with another worker; or, if what was asked for had
    been executed before and only its reply was lost, where that has put it. In no case is it lost,
    and the caller must not act on it any more (docs/explanation/queue.md, "Leases").
    """


class NotAMaildir(TemporaryError):
    """The path is not a usable Maildir: something is missing, or is not a directory.

    Temporary on purpose: an unmounted share or a Coda conflict looks just like this, and
    neither may bounce mail.
    """

    status = "4.2.0"


class QuotaExceeded(TemporaryError):
    """The Maildir's own quota (`maildirsize`, Maildir++) has no room for the message."""

    status = "4.2.2"


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def storage_error(what: str, error: OSError) -> TemporaryError:
    """A `TemporaryError` that says what was being done and what the system answered.

    Args:
        what: the step and the thing, for example ``"fsync tmp/1763.M1P2Q3"``.
        error: what the operating system said.
    """
    if error.errno is None:  # a stream's own words, for example "cannot read from timed out object"
        return TemporaryError(f"{what}: {error}")
    name = errno.errorcode.get(error.errno, "unknown error")
    failure = TemporaryError(f"{what}: {os.strerror(error.errno)} [{name}]")
    if error.errno in _FULL:
        failure.status = "4.3.1"
    return failure


def fsync_failed(directory: str, path: str, error: OSError) -> UnknownOutcome:
    """The `UnknownOutcome` of a message that is at `path`, in a directory whose fsync failed."""
    return UnknownOutcome(
        f"{storage_error(f'fsync {directory}', error)}; {path} is there, perhaps not durable", path
    )
