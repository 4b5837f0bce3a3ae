"""The JSON API: list, get, raw, attachment, delete, wait, health, metrics.

GET    /api/messages?limit=50&offset=0&search=words
GET    /api/messages/KEY            DELETE /api/messages/KEY
GET    /api/messages/KEY/raw        DELETE /api/messages
GET    /api/messages/KEY/attachments/NUMBER
GET    /api/wait?to=…&subject=…&since=VERSION&timeout=10
GET    /health  /ready  /metrics
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, BinaryIO
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from maildir_safe._maildir.message_store import Message
from maildir_safe._smtp.server.counters import BOUNDS
from maildir_safe._web.inbox import Closed, Inbox, order, printable, received
from maildir_safe._web.mail import attachment, take_apart
from maildir_safe.errors import MaildirSafeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from prometheus_client import Metric

    from maildir_safe._smtp.server.counters import Counters

_MOST = 500
_LONGEST_WAIT = 60.0


def number(request: Request, name: str, default: float, most: float) -> float:
    """A number from the query, within 0 and `most`; what is no number is the default."""
    try:
        value = float(request.query_params.get(name, default))
    except ValueError:
        return default
    return min(max(value, 0.0), most) if value == value else default


def line(inbox: Inbox, message: Message) -> dict[str, Any]:
    """A message as the list has it. Opens its file."""
    summary = inbox.summary(message)
    return {
        "key": printable(message.key),
        "flags": message.flags,
        "unread": "S" not in message.flags,
        "size": message.size,
        "received": received(message.key),
        "from": summary.sender,
        "from_name": summary.name,
        "to": summary.to,
        "subject": summary.subject,
        "date": summary.date,
        "envelope_from": summary.returns,
        "envelope_to": summary.envelope,
    }


async def page_of(inbox: Inbox, request: Request, most: int) -> tuple[list[Message], int, bool]:
    """The messages that a request asks for, of how many, and whether the search saw all."""
    messages = await inbox.messages()
    complete = True
    offset = int(number(request, "offset", 0, 1e9))
    words = request.query_params.get("search", "")
    if words.strip():
        messages, complete = await asyncio.to_thread(inbox.search, words, offset + most + 1)
    return messages[offset : offset + most], len(messages), complete


async def list_messages(request: Request) -> Response:
    """The newest messages first."""
    inbox: Inbox = request.app.state.inbox
    most = int(number(request, "limit", 50, _MOST))
    shown, total, complete = await page_of(inbox, request, most)
    lines = await asyncio.to_thread(lambda: [line(inbox, message) for message in shown])
    return JSONResponse(
        {"total": total, "version": inbox.version, "search_complete": complete, "messages": lines}
    )


async def get_message(request: Request) -> Response:
    """One message, taken apart."""
    inbox: Inbox = request.app.state.inbox
    message = await inbox.find(request.path_params["key"])
    mail = await inbox.apart(message.key, take_apart)
    return JSONResponse(
        {
            **await asyncio.to_thread(line, inbox, message),
            "headers": mail.headers,
            "text": mail.text,
            "html": mail.html,
            "attachments": [
                {"number": part.number, "name": part.name, "type": part.content_type, "size": part.size}
                for part in mail.attachments
            ],
            "broken": mail.broken,
        }
    )


async def raw_message(request: Request) -> Response:
    """One message as it lies in the Maildir, to download."""
    inbox: Inbox = request.app.state.inbox
    message = await inbox.find(request.path_params["key"])
    file = await asyncio.to_thread(inbox.maildir.open, message.key)
    return download(_pieces(file), "message/rfc822", "message.eml")


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(1 << 16):
            yield piece


async def get_attachment(request: Request) -> Response:
    """One part of a message, to download; never to be shown by the browser."""
    inbox: Inbox = request.app.state.inbox
    message = await inbox.find(request.path_params["key"])
    wanted = request.path_params["number"]
    part, data = await inbox.apart(message.key, lambda raw: attachment(raw, wanted))
    return download(iter([data]), "application/octet-stream", part.name)


def download(data: Iterator[bytes], content_type: str, name: str) -> Response:
    """An answer that a browser saves (RFC 6266); the name is the sender's and only offered."""
    last = name.replace("\\", "/").rpartition("/")[2]
    safe = "".join(c for c in last if c.isprintable()).lstrip(".") or "attachment"
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(safe[:150], safe='')}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    return StreamingResponse(data, media_type=content_type, headers=headers)


async def delete_message(request: Request) -> Response:
    """Remove one message."""
    inbox: Inbox = request.app.state.inbox
    message = await inbox.find(request.path_params["key"])
    removed = await asyncio.to_thread(inbox.maildir.discard, message.key)
    inbox.forget()
    return JSONResponse({"removed": int(removed)}, 200 if removed else 404)


async def delete_all(request: Request) -> Response:
    """Remove all messages; the Maildir itself stays."""
    inbox: Inbox = request.app.state.inbox

    def remove() -> int:
        return sum(inbox.maildir.discard(message.key) for message in list(inbox.maildir.messages()))

    removed = await asyncio.to_thread(remove)
    inbox.forget()
    return JSONResponse({"removed": removed})


async def wait(request: Request) -> Response:
    """The newest message to somebody about something, as soon as there is one; 404 if none comes in time.

    `to` and `subject` are contained in the envelope or header recipients and in the subject, in
    any case; `timeout` is in seconds, at most 60. `after` is the key of a message that was had
    before: only newer ones count.
    """
    inbox: Inbox = request.app.state.inbox
    until = asyncio.get_running_loop().time() + number(request, "timeout", 10, _LONGEST_WAIT)
    wanted = {name: request.query_params.get(name, "").casefold() for name in ("to", "subject")}
    after = request.query_params.get("after")
    while True:
        found = await asyncio.to_thread(_match, inbox, await inbox.messages(), wanted, after)
        if found is not None:
            return JSONResponse(found)
        left = until - asyncio.get_running_loop().time()
        if left <= 0:
            return JSONResponse({"error": "no such message came in time"}, 404)
        try:
            await asyncio.wait_for(inbox.changed(inbox.version), left)
        except TimeoutError:
            continue
        except Closed:
            return JSONResponse({"error": "the server ends"}, 503)


def _match(
    inbox: Inbox, messages: list[Message], wanted: dict[str, str], after: str | None
) -> dict[str, Any] | None:
    for message in messages[:_MOST]:
        if after and order(printable(message.key)) <= order(after):
            return None
        summary = inbox.summary(message)
        recipients = " ".join([summary.to, *summary.envelope]).casefold()
        if wanted["to"] in recipients and wanted["subject"] in summary.subject.casefold():
            return line(inbox, message)
    return None


async def health(request: Request) -> Response:  # noqa: ARG001
    """That this process answers."""
    return PlainTextResponse("ok\n")


async def ready(request: Request) -> Response:
    """That the Maildir can be listed; 503 with the reason if not."""
    try:
        await request.app.state.inbox.messages()
    except MaildirSafeError as error:
        return PlainTextResponse(f"{printable(str(error))}\n", 503)
    return PlainTextResponse("ready\n")


async def metrics(request: Request) -> Response:
    """What Prometheus asks for."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Now(request.app.state.counters, len(await request.app.state.inbox.messages())))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Now:
    """The figures of this moment, in the form that prometheus_client takes."""

    def __init__(self, counters: Counters, messages: int) -> None:
        self._tally = counters
        self._messages = messages

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        def histogram(name: str, about: str, counts: list[int], seconds: float) -> Metric:
            buckets = list(zip([*map(str, BOUNDS), "+Inf"], counts, strict=True))
            return HistogramMetricFamily(name, about, buckets, seconds)

        counters = self._tally
        deliveries = CounterMetricFamily("maildir_safe_deliveries", "Messages received", labels=["result"])
        for result, count in counters.messages.items():
            deliveries.add_metric([result], count)
        yield deliveries
        yield histogram(
            "maildir_safe_delivery_seconds", "From DATA to the answer", *counters.delivery_seconds
        )
        yield histogram(
            "maildir_safe_fsync_seconds", "Of a file, a directory or all", *counters.fsync_seconds
        )
        yield CounterMetricFamily(
            "maildir_safe_ambiguous_renames", "Renames answered with an error", counters.ambiguous_renames
        )
        yield GaugeMetricFamily("maildir_safe_messages", "Messages in the Maildir", self._messages)


ROUTES = [
    Route("/api/messages", list_messages),
    Route("/api/messages", delete_all, methods=["DELETE"]),
    Route("/api/messages/{key}", get_message),
    Route("/api/messages/{key}", delete_message, methods=["DELETE"]),
    Route("/api/messages/{key}/raw", raw_message),
    Route("/api/messages/{key}/attachments/{number:int}", get_attachment),
    Route("/api/wait", wait),
    Route("/health", health),
    Route("/ready", ready),
    Route("/metrics", metrics),
]
