"""Every call of the package mailhog (PyPI), against the server named on the command line.

Prints one JSON object: "passed" or the error, by the name of the call. Runs in that package's environment.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from mailhog import Mailhog  # type: ignore[import-not-found]

server = urlsplit(sys.argv[1])
mailhog = Mailhog(server.hostname, server.port)
results: dict[str, str] = {}


def call(name: str, make: Callable[[], Any], good: Callable[[Any], bool] = lambda _: True) -> Any:
    try:
        answer = make()
        results[name] = "passed" if good(answer) else f"unexpected: {answer!r}"[:500]
    except Exception as error:  # noqa: BLE001 - what went wrong is the result
        results[name] = repr(error)[:500]
        return None
    return answer


listed = call(
    "messages", mailhog.messages, lambda found: (found.total, found.count, found.start) == (2, 2, 0)
)
message = listed.items[0]
call("get_sender", message.get_sender, lambda found: found == "ada@example.com")
call("get_recipients", message.get_recipients, lambda found: found == ["bob@example.org"])
call("get_subject", message.get_subject, lambda found: found == "two")
call("search", lambda: mailhog.search("one"), lambda found: found.total == 1)
call(
    "search to",
    lambda: mailhog.search("bob@", "to", 1, 1),
    lambda found: (found.total, found.count) == (2, 1),
)
call("delete", lambda: mailhog.delete(message))
call("messages after delete", mailhog.messages, lambda found: found.total == 1)
call("delete_all", mailhog.delete_all)
call("messages after delete_all", mailhog.messages, lambda found: found.total == 0)
print(json.dumps(results))
