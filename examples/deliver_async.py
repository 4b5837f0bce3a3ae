"""A thousand deliveries at once under asyncio: callers share their fsyncs.

python3 deliver_async.py MAILDIR
"""

import asyncio
import sys

from maildir_safe import Maildir


async def main(path: str) -> None:
    """Deliver, and say how durable the messages are."""
    maildir = Maildir(path)
    messages = (b"Subject: number %d\n\nhello\n" % number for number in range(1000))
    receipts = await asyncio.gather(*(maildir.deliver_async(message) for message in messages))
    print(len(receipts), "delivered, durability", *{receipt.durability for receipt in receipts})


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
