"""Every call of the package mailpit-api-client, against the server named on the command line.

Prints one JSON object: "passed" or the error, by the name of the call. Runs in that package's environment.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from mailpit.client.api import API  # type: ignore[import-not-found]
from mailpit.testing.unittest import EMailTestCase  # type: ignore[import-not-found]

api = API(sys.argv[1])
results: dict[str, str] = {}


def call(name: str, make: Callable[[], Any], good: Callable[[Any], bool] = lambda _: True) -> Any:
    try:
        answer = make()
        results[name] = "passed" if good(answer) else f"unexpected: {answer!r}"[:500]
    except Exception as error:  # noqa: BLE001 - what went wrong is the result
        results[name] = repr(error)[:500]
        return None
    return answer


class Case(EMailTestCase):  # type: ignore[misc]
    """The package's own assertions."""

    api_url = sys.argv[1]

    def runTest(self) -> None:
        """Nothing."""


listed = call("get_messages", api.get_messages, lambda found: found.total == 2 and found.count == 2)
two, one = [message.id for message in listed.messages]
message = call("get_message", lambda: api.get_message(one), lambda found: found.subject == "one")
call("get_message_headers", lambda: api.get_message_headers(one), lambda h: h.message_id == ["<one@x>"])
part = message.attachments[0].part_id
call("get_message_attachment", lambda: api.get_message_attachment(one, part), lambda found: found == "data")
call("put_messages", lambda: api.put_messages([two], "Read", True))
call("get_messages after put", api.get_messages, lambda found: found.unread == 0)
Case.setUpClass()
call("assertMessageReceived", lambda: Case().assertMessageReceived("one@x"))
call("assertMessageEqual", lambda: Case().assertMessageEqual(message, api.get_message(one)))
call("delete_messages", lambda: api.delete_messages([one]))
call("get_messages after delete", api.get_messages, lambda left: [m.id for m in left.messages] == [two])
call("delete_messages of all", lambda: api.delete_messages([]))
call("get_messages at the end", api.get_messages, lambda found: found.total == 0)
print(json.dumps(results))
