"""`Maildir.deliver_async` where file calls come before the delivery, or where it cannot join a batch."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from maildir_safe._delivery.receipt import receipt_of
from maildir_safe._delivery.trace_headers import trace_headers

if TYPE_CHECKING:
    from typing import Any

    from maildir_safe._delivery.content import Content
    from maildir_safe._delivery.receipt import Receipt
    from maildir_safe._maildir.maildir import Maildir


async def deliver_apart(
    maildir: Maildir, message: Content, executor: Any, options: dict[str, Any]
) -> Receipt:
    """Deliver a stream, or a message with `folder`, `flags` or `delivery_id` among its options.

    Args:
        maildir: the Maildir.
        message, options: as for `Maildir.deliver`.
        executor: runs the file calls; None: the event loop's default.

    Raises:
        As `Maildir.deliver`.
    """
    in_thread = partial(asyncio.get_running_loop().run_in_executor, executor)
    folder = options.pop("folder", None)
    if folder is not None:
        target = await in_thread(maildir.folder, folder)
        return await target.deliver_async(message, executor=executor, **options)
    if options.get("delivery_id") is not None or hasattr(message, "read"):
        return await in_thread(partial(maildir.deliver, message, **options))
    flags = options.pop("flags", "")
    options.pop("delivery_id", None)
    # finding the separator for the flags may take file calls
    job = await in_thread(maildir._job, message, trace_headers(**options), flags)
    await maildir._async_combiner().run(job, executor)
    return receipt_of(job)
