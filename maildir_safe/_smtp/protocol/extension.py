"""Extensions of SMTP (RFC 5321 2.2), one object each: a word in the reply to EHLO, and parameters.

An extension with its own command (STARTTLS, AUTH) also adds a verb; see
`maildir_safe._smtp.server.extensions`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maildir_safe._delivery.dsn import Dsn, in_ascii
from maildir_safe._smtp.protocol.address import decode_xtext
from maildir_safe._smtp.protocol.replies import TOO_BIG, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Check = Callable[[str, "Offer"], None]

_NOTIFY = {"SUCCESS", "FAILURE", "DELAY"}


class Offer:
    """The extensions that a server offers to one client at this moment.

    Attributes:
        max_size: most bytes of one message.
        starttls: whether the client can start TLS.
        auth: the mechanisms by which the client can authenticate; none if it cannot.
        dsn: whether reports that the sender asks for are sent, or the server runs to test senders.
        binary: whether a message that is not lines of text stays as it is on its whole way.
    """

    __slots__ = ("auth", "binary", "dsn", "max_size", "starttls")

    def __init__(
        self,
        max_size: int,
        starttls: bool = False,
        auth: Sequence[str] = (),
        dsn: bool = False,
        binary: bool = False,
    ) -> None:
        self.max_size = max_size
        self.starttls = starttls
        self.auth = auth
        self.dsn = dsn
        self.binary = binary


class Extension:
    """One extension.

    Args:
        word: returns the line in the reply to EHLO; ``""`` if the extension is not offered. Its
            parameters are accepted anyway, since they do no harm.
        mail: the MAIL parameters, each with a function that checks the value (``""`` if it has
            none) or raises `Refused`.
        rcpt: the same for RCPT.
        verbs: the commands, each with the function that executes it, which is called with the
            connection and the argument.
    """

    def __init__(
        self,
        word: Callable[[Offer], str],
        mail: Mapping[str, Check] | None = None,
        rcpt: Mapping[str, Check] | None = None,
        verbs: Mapping[str, Any] | None = None,
    ) -> None:
        self.word = word
        self.mail = mail or {}
        self.rcpt = rcpt or {}
        self.verbs = verbs or {}


def check_parameters(
    known: Mapping[str, Check], parameters: Mapping[str, str], verb: str, offer: Offer
) -> None:
    """Refuse parameters that are malformed (501) or unknown to every extension (555)."""
    for name, value in parameters.items():
        check = known.get(name)
        if check is None:
            raise Refused(f"555 5.5.4 Unknown {verb} parameter")
        check(value, offer)


def original_recipient(parameters: Mapping[str, str]) -> str | None:
    """The address in ORCPT; None if ORCPT was not given."""
    value = parameters.get("ORCPT")
    return None if value is None else _decoded(value.partition(";")[2])


def requested_for_message(parameters: Mapping[str, str]) -> Dsn:
    """The reports that the parameters of MAIL ask for."""
    return Dsn(parameters.get("RET", ""), parameters.get("ENVID", ""))


def request_for_recipient(dsn: Dsn, recipient: str, parameters: Mapping[str, str]) -> None:
    """Add what the parameters of RCPT ask for."""
    if notify := parameters.get("NOTIFY"):
        dsn.notify.setdefault(recipient, notify.upper())
    if original := parameters.get("ORCPT"):
        dsn.originals.setdefault(recipient, in_ascii(original))


def _size(value: str, offer: Offer) -> None:
    if not (value.isascii() and value.isdigit()) or len(value) > 20:
        raise Refused("501 5.5.4 SIZE takes a number of bytes")
    if int(value) > offer.max_size:
        raise Refused(TOO_BIG)


def _one_of(name: str, *words: str) -> Check:
    def check(value: str, offer: Offer) -> None:  # noqa: ARG001
        if value.upper() not in words:
            raise Refused(f"501 5.5.4 {name} is {' or '.join(words)}")

    return check


def _body(value: str, offer: Offer) -> None:
    check = _one_of("BODY", "7BIT", "8BITMIME", *(["BINARYMIME"] if offer.binary else []))
    check(value, offer)


def _no_value(value: str, offer: Offer) -> None:  # noqa: ARG001
    if value:
        raise Refused("501 5.5.4 SMTPUTF8 takes no value")


def _notify(value: str, offer: Offer) -> None:  # noqa: ARG001
    words = value.upper().split(",")
    if words != ["NEVER"] and not _NOTIFY.issuperset(words):
        raise Refused("501 5.5.4 NOTIFY is NEVER or some of SUCCESS,FAILURE,DELAY")


def _original(value: str, offer: Offer) -> None:  # noqa: ARG001
    kind, _, address = value.partition(";")
    if not kind or not address:
        raise Refused("501 5.5.4 ORCPT is type;address")
    _decoded(address)


def _decoded(address: str) -> str:
    """An address as xtext, or as UTF-8 (RFC 6533 section 3). Raises `Refused`."""
    return decode_xtext(address) if address.isascii() or not address.isprintable() else address


def xtext(value: str, offer: Offer) -> None:  # noqa: ARG001
    """Refuse a value that is empty or is not xtext (RFC 3461)."""
    decode_xtext(value)


PIPELINING = Extension(lambda offer: "PIPELINING")  # noqa: ARG005 - RFC 2920
SIZE = Extension(lambda offer: f"SIZE {offer.max_size}", mail={"SIZE": _size})  # RFC 1870
EIGHT_BIT = Extension(lambda offer: "8BITMIME", mail={"BODY": _body})  # noqa: ARG005 - RFC 6152
BINARY = Extension(lambda offer: "BINARYMIME" if offer.binary else "")  # RFC 3030
UTF8 = Extension(lambda offer: "SMTPUTF8", mail={"SMTPUTF8": _no_value})  # noqa: ARG005 - RFC 6531
CODES = Extension(lambda offer: "ENHANCEDSTATUSCODES")  # noqa: ARG005 - RFC 2034
# RFC 3461. The offer promises reports: a worker of the queue sends them.
DSN = Extension(
    lambda offer: "DSN" if offer.dsn else "",
    mail={"RET": _one_of("RET", "FULL", "HDRS"), "ENVID": xtext},
    rcpt={"NOTIFY": _notify, "ORCPT": _original},
)
