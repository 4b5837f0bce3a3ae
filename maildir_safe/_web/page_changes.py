"""What the pages' buttons do: read, star, delete, and undo."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from maildir_safe._web.api import known_key
from maildir_safe._web.inbox import Inbox
from maildir_safe._web.mailpit import mark
from maildir_safe._web.mailpit_body import read_form
from maildir_safe._web.pages import error_page, link
from maildir_safe._web.parameters import Query
from maildir_safe._web.placed import Placed
from maildir_safe._web.trash import MOST, Trash


async def toggle(request: Request) -> Response:
    """Toggle a flag of a message: read or unread (S), starred or not (F)."""
    inbox: Inbox = request.app.state.inbox
    query = Query(request, "search", "mailbox", "offset")
    key, flag = request.path_params["key"], request.path_params["flag"]
    message = await inbox.find(key)
    flags = message.flags
    if flag not in ("S", "F"):
        return error_page(request, 404, "The flags are S and F.")
    changed = flags.replace(flag, "") if flag in flags else flags + flag
    await asyncio.to_thread(inbox.maildir.set_flags, message.key, changed)
    inbox.forget()
    back = "/" if flag == "S" else f"/message/{quote(key, safe='')}"
    return _back(request, back, query)


async def delete(request: Request) -> Response:
    """Delete a message: the page's button "Delete"."""
    query = Query(request, "search", "mailbox", "offset")
    message = await request.app.state.inbox.find(request.path_params["key"])
    return await _delete(request, query, lambda: [message])


async def delete_found(request: Request) -> Response:
    """Delete the messages that the list shows: all that match its search, except later arrivals."""
    inbox: Inbox = request.app.state.inbox
    query = Query(request, "search", "upto", "mailbox")
    messages = await inbox.messages(box=await inbox.box(query.text("mailbox")))
    upto = known_key(inbox, query, "upto")
    found, trouble = await inbox.run_heavy(lambda: inbox.chosen(messages, query.text("search"), upto))
    answer = await _delete(request, query, lambda: found, False)
    return error_page(request, 503, f"{trouble[0].upper()}{trouble[1:]}.") if trouble else answer


async def change_selected(request: Request) -> Response:
    """Delete the messages that are selected in the list, or mark them as read or unread."""
    inbox: Inbox = request.app.state.inbox
    query, what = Query(request, "search", "mailbox", "offset"), request.path_params["what"]
    if what not in ("delete", "read", "unread"):
        return error_page(request, 404, "Selected messages can be deleted, or marked as read or unread.")
    keys = await _selected(request)
    await inbox.messages()
    messages = [message for key in keys if (message := inbox.get(key))]
    if what == "delete":
        return await _delete(request, query, lambda: messages)
    failed = await inbox.run_heavy(lambda: sum(not mark(inbox, one, what == "read") for one in messages))
    inbox.forget()
    if failed:
        return error_page(request, 503, f"{failed} messages could not be marked.")
    return _back(request, "/", query)


async def _selected(request: Request) -> set[str]:
    """The keys in the form of a request."""
    fields = await read_form(request, MOST)
    return {value for name, value in fields if name == "key"}


async def _delete(
    request: Request, query: Query, choose: Callable[[], Sequence[Placed]], stay: bool = True
) -> Response:
    """Delete messages, and lead back to the list, where that can be undone."""
    inbox: Inbox = request.app.state.inbox
    trash: Trash = request.app.state.trash
    try:
        deletion = await inbox.run_heavy(lambda: trash.delete(choose()))
    finally:
        inbox.forget()
    if deletion.failed:
        return error_page(request, 503, f"{deletion.failed} messages could not be deleted.")
    return _back(request, "/", query, deletion.token if deletion.done else "", stay)


async def undo(request: Request) -> Response:
    """Bring back what was deleted."""
    inbox: Inbox = request.app.state.inbox
    trash: Trash = request.app.state.trash
    query = Query(request, "search", "mailbox", "offset")
    try:
        undone = await inbox.run_heavy(lambda: trash.undo(request.path_params["token"]))
    finally:
        inbox.forget()
    if undone is None:
        return error_page(request, 404, "This deletion cannot be undone any more.")
    if undone.failed:
        return error_page(request, 503, f"{undone.failed} messages could not be brought back.")
    return _back(request, "/", query)


def _back(request: Request, path: str, query: Query, token: str = "", stay: bool = True) -> Response:
    """Lead back to a page, with the same search in the same mailbox."""
    search = query.text("search") if stay else ""
    offset = query.text("offset") if stay else ""
    same = {"search": search, "mailbox": query.text("mailbox"), "offset": offset, "undo": token}
    return RedirectResponse(link(request, path, **same), 303)


ROUTES = [
    Route("/delete", delete_found, methods=["POST"]),
    Route("/selected/{what}", change_selected, methods=["POST"]),
    Route("/undo/{token}", undo, methods=["POST"]),
    Route("/message/{key}/toggle/{flag}", toggle, methods=["POST"]),
    Route("/message/{key}/delete", delete, methods=["POST"]),
]
