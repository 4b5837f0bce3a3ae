"""The shapes of our answers and of Mailpit's longer requests, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

Shape = dict[str, Any]

TEXT: Shape = {"type": "string"}
WHOLE: Shape = {"type": "integer"}
TRUTH: Shape = {"type": "boolean"}
TEXTS: Shape = {"type": "array", "items": TEXT}
_NUMBER: Shape = {"type": "number"}
_MAYBE: Shape = {"type": ["string", "null"]}


def _of(**fields: Shape) -> Shape:
    """An object that has these fields."""
    return {"type": "object", "required": [*fields], "properties": fields}


def _list(shape: Shape) -> Shape:
    return {"type": "array", "items": shape}


def _map(shape: Shape) -> Shape:
    return {"type": "object", "additionalProperties": shape}


def _each(shape: Shape, names: str) -> dict[str, Shape]:
    """Several fields of one shape."""
    return dict.fromkeys(names.split(), shape)


def optional(fields: dict[str, Shape], *required: str) -> Shape:
    """The object of a request: a field that is null counts as absent, and others are refused.

    Args:
        fields: the shape of each field.
        required: those that must be there.
    """
    properties = {name: shape if name in required else _or_null(shape) for name, shape in fields.items()}
    found: Shape = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": [*required]} if required else found


def _or_null(shape: Shape) -> Shape:
    return {"anyOf": [shape, {"type": "null"}]}


_LINE = {
    **_each(TEXT, "key mailbox flags from from_name from_address to cc subject date"),
    **_each(TRUTH, "unread attached"),
    "size": WHOLE,
    "received": _NUMBER,
    "envelope_from": _MAYBE,
    "envelope_to": TEXTS,
}
_ATTACHMENT = _of(number=WHOLE, name=TEXT, type=TEXT, size=WHOLE)
_FAULT: Shape = {
    "type": "object",
    "properties": {
        **_each(TEXT, "stage call match reply rate error"),
        **_each(_NUMBER, "delay chance greylist"),
        **_each(WHOLE, "number nth times"),
        **_each(TRUTH, "drop executed"),
    },
}
_SESSION = _of(
    **_each(WHOLE, "number refusals left_out"),
    **_each(TEXT, "peer protocol"),
    began=_NUMBER,
    open=TRUTH,
    lines=_list(_of(who=TEXT, text=TEXT, seconds=_NUMBER)),
)
_MAILBOX = _of(name=TEXT, total=WHOLE, unread=WHOLE, trouble=TEXT)
_SUPPORT = _of(**_each(TEXT, "feature title url"), found=WHOLE, unsupported=TEXTS, partial=TEXTS)
_LINKS = _of(links=TEXTS, codes=TEXTS, code=_MAYBE)
_REMOVED = _of(removed=WHOLE)

_PERSON = _of(Name=TEXT, Address=TEXT)
_HEAD = {
    **_each(TEXT, "ID MessageID Subject Username"),
    "From": _PERSON,
    **_each(_list(_PERSON), "To Cc Bcc ReplyTo"),
    "Read": TRUTH,
    "Tags": TEXTS,
    "Size": WHOLE,
}
_SUMMARY = _of(**_HEAD, Created=TEXT, Snippet=TEXT, Attachments=WHOLE)
_FILE = _of(
    **_each(TEXT, "PartID FileName ContentType ContentID"),
    Size=WHOLE,
    Checksums=_of(MD5=TEXT, SHA1=TEXT, SHA256=TEXT),
)
_WHOLE = _of(
    **_HEAD,
    **_each(TEXT, "ReturnPath Date Text HTML"),
    ListUnsubscribe=_of(Header=TEXT, Links=TEXTS, Errors=TEXT, HeaderPost=TEXT),
    **_each(_list(_FILE), "Inline Attachments"),
)
_FOUND = _of(
    **_each(WHOLE, "total unread count messages_count messages_unread start"),
    tags=TEXTS,
    messages=_list(_SUMMARY),
)
_INFO = _of(
    **_each(TEXT, "Version LatestVersion Database"),
    **_each(WHOLE, "DatabaseSize Messages Unread"),
    Tags=_map(WHOLE),
    RuntimeStats=_of(
        **_each(WHOLE, "Uptime Memory MessagesDeleted SMTPAccepted SMTPAcceptedSize SMTPRejected SMTPIgnored")
    ),
)
_WARNING = _of(
    **_each(TEXT, "Slug Title Description URL Category Keywords"),
    Tags=TEXTS,
    Results=_list(_of(**_each(TEXT, "Name Platform Family Version Support NoteNumber"))),
    NotesByNumber=_map(TEXT),
    Score=_of(Found=WHOLE, **_each(_NUMBER, "Supported Partial Unsupported")),
)
_HTML_CHECK = _of(
    Total=_of(Tests=WHOLE, Nodes=WHOLE, **_each(_NUMBER, "Supported Partial Unsupported")),
    Warnings=_list(_WARNING),
    Platforms=_map(TEXTS),
)
TRIGGERS = "Sender Recipient Authentication"
"""The names of Mailpit's triggers of chaos."""
_CHAOS = _of(**_each(_of(ErrorCode=WHOLE, Probability=WHOLE), TRIGGERS))

_PATH = _of(Relays={"type": "null"}, **_each(TEXT, "Mailbox Domain Params"))
_PARTS: Shape = {"anyOf": [{"type": "null"}, _of(Parts=_list({"type": "object"}))]}
_CONTENT = _of(Headers=_map(TEXTS), Body=TEXT, Size=WHOLE, MIME=_PARTS)
_HOG = _of(
    **_each(TEXT, "ID Created"),
    From=_PATH,
    To=_list(_PATH),
    Content=_CONTENT,
    MIME=_PARTS,
    Raw=_of(**_each(TEXT, "From Data Helo"), To=TEXTS),
)
_HOG_LIST = _of(**_each(WHOLE, "total count start"), items=_list(_HOG))

JSON: dict[tuple[str, str], Shape] = {
    ("GET", "/api/openapi.json"): {"type": "object", "required": ["openapi", "info", "paths"]},
    ("GET", "/api/messages"): _of(
        **_each(WHOLE, "total unread version"), search_complete=TRUTH, messages=_list(_of(**_LINE))
    ),
    ("DELETE", "/api/messages"): _REMOVED,
    ("GET", "/api/messages/{key}"): _of(
        **_LINE,
        headers=_list({"type": "array", "items": TEXT, "minItems": 2, "maxItems": 2}),
        text=_MAYBE,
        html=_MAYBE,
        attachments=_list(_ATTACHMENT),
        broken=TEXT,
    ),
    ("DELETE", "/api/messages/{key}"): _REMOVED,
    ("GET", "/api/messages/{key}/links"): _LINKS,
    ("GET", "/api/messages/{key}/checks"): _of(
        checks=_list(_of(id=TEXT, good=TRUTH, text=TEXT)), clients=_list(_SUPPORT)
    ),
    ("GET", "/api/wait"): _of(**_LINE),
    ("GET", "/api/mailboxes"): _of(
        **_each(WHOLE, "total unread indexed"), complete=TRUTH, mailboxes=_list(_MAILBOX)
    ),
    ("GET", "/api/sessions"): _of(sessions=_list(_SESSION)),
    ("GET", "/api/faults"): _of(faults=_list(_FAULT), script=_list(_FAULT)),
    ("POST", "/api/faults"): _of(number=WHOLE),
    ("DELETE", "/api/faults"): {"type": "object"},
    ("DELETE", "/api/faults/{number}"): {"type": "object"},
    ("GET", "/api/v1/messages"): _FOUND,
    ("GET", "/api/v1/search"): _FOUND,
    ("GET", "/api/v1/wait"): _FOUND,
    ("GET", "/api/v1/tags"): TEXTS,
    ("GET", "/api/v1/info"): _INFO,
    ("GET", "/api/v1/message/{id}"): _WHOLE,
    ("GET", "/api/v1/message/{id}/headers"): _map(TEXTS),
    ("GET", "/api/v1/message/{id}/links"): _LINKS,
    ("GET", "/api/v1/message/{id}/html-check"): _HTML_CHECK,
    ("POST", "/api/v1/send"): _of(ID=TEXT),
    ("GET", "/api/v1/chaos"): _CHAOS,
    ("PUT", "/api/v1/chaos"): _CHAOS,
    ("GET", "/api/v2/messages"): _HOG_LIST,
    ("GET", "/api/v2/search"): _HOG_LIST,
    ("GET", "/api/v1/messages/{id}"): _HOG,
}
"""The shape of each answer in JSON, by method and path."""

OTHER = {
    ("GET", "/api/messages/{key}/raw"): "message/rfc822",
    ("GET", "/api/messages/{key}/attachments/{number}"): "application/octet-stream",
    ("GET", "/api/v1/message/{id}/part/{part}"): "*/*",
    ("GET", "/view/{id}.html"): "text/html",
    ("DELETE", "/api/v1/messages/{id}"): "",
}
"""The type of each answer that is neither JSON nor plain text; ``""``: it is empty."""

ERROR: Shape = {"type": "object", "required": ["error"], "properties": {"error": TEXT, "removed": WHOLE}}
"""The shape of our errors; `removed` is there if some messages were removed."""
SEND_ERROR = _of(Error=TEXT)
"""The shape of the errors of Mailpit's ``/api/v1/send``."""

_SENT_PERSON = optional({"Name": TEXT, "Email": TEXT}, "Email")
SEND = optional(
    {
        "From": _SENT_PERSON,
        **_each(_list(_SENT_PERSON), "To Cc ReplyTo"),
        **_each(TEXTS, "Bcc Tags"),
        **_each(TEXT, "Subject Text HTML"),
        "Headers": _map(TEXT),
        "Attachments": _list(optional(_each(TEXT, "Content Filename ContentType ContentID"))),
    },
    "From",
)
"""The shape of a message to send."""
