"""Count the unread messages of a Maildir and its folders, and print the subject of the newest.

python3 count_unread.py MAILDIR
"""

import email.parser
import email.policy
import sys

from maildir_safe import Maildir


def main(path: str) -> None:
    """One line for the Maildir, and one for each folder."""
    inbox = Maildir(path, create=False)
    for name, box in [("inbox", inbox), *((name, inbox.folder(name)) for name in inbox.folders())]:
        unread = [message.key for message in box.messages() if "S" not in message.flags]
        print(f"{name}: {len(unread)} unread{newest(box, unread)}")


def newest(box: Maildir, keys: list[str]) -> str:
    """The newest message's subject: a key begins with the time of delivery."""
    if not keys:
        return ""
    with box.open(max(keys)) as file:
        headers = email.parser.BytesParser(policy=email.policy.default).parse(file, headersonly=True)
    return f", the newest about {headers['Subject']}"


if __name__ == "__main__":
    main(sys.argv[1])
