"""Take over the mail queue of zope.sendmail or repoze.sendmail: no change to the application.

    python3 zope_sendmail.py MAILDIR SPOOL              # from cron, or in a loop
    maildir-safe work SPOOL --to smtp://relay.example.org

Their own sender locks a message by link(), which many mounts refuse; it then sends nothing. Here each message
goes into a spool, under its name as the delivery id: a crash before it is removed makes no second copy.
"""

import email.header
import email.parser
import re
import sys
from email.utils import getaddresses

from maildir_safe import Maildir, Queue

# zope.sendmail: the first two lines; repoze.sendmail: fields, anywhere in the header
ZOPE = re.compile(rb"X-Zope-From: (.*)\nX-Zope-To: (.*)\n")
REPOZE = re.compile(rb"^X-Actually-(?:From|To):.*\n(?:[ \t].*\n)*", re.MULTILINE)


def parse(raw: bytes) -> tuple[str, list[str], bytes]:
    """Return sender, recipients and the message itself."""
    if found := ZOPE.match(raw):
        return found[1].decode(), addresses(found[2].decode()), raw[found.end() :]
    fields = email.parser.BytesHeaderParser().parsebytes(raw)
    sender, recipients = (text(fields[f"X-Actually-{name}"]) for name in ("From", "To"))
    header, blank, body = raw.partition(b"\n\n")
    return sender, addresses(recipients), REPOZE.sub(b"", header + b"\n") + blank[1:] + body


def text(field: object) -> str:
    """Return a header field, decoded."""
    return str(email.header.make_header(email.header.decode_header(str(field or ""))))


def addresses(field: str) -> list[str]:
    """Return the addresses in a field, without names."""
    return [address for _, address in getaddresses([field]) if address]


def take_over(maildir: Maildir, queue: Queue) -> int:
    """Put every message into the spool, and return their number."""
    count = 0
    for message in list(maildir.messages()):
        with maildir.open(message.key) as file:
            sender, recipients, content = parse(file.read())
        queue.put(content, sender, recipients, delivery_id=message.key)
        maildir.discard(message.key)
        count += 1
    return count


if __name__ == "__main__":
    with Queue(sys.argv[2]) as queue:
        print(take_over(Maildir(sys.argv[1], create=False), queue), "messages")
