"""Arguments of MAIL and RCPT: what passes, and what is refused with which code."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from maildir_safe._smtp.protocol.address import (
    decode_xtext,
    parse_recipient,
    parse_sender,
)
from maildir_safe._smtp.protocol.extension import Offer, check_parameters, original_recipient
from maildir_safe._smtp.protocol.replies import Refused
from maildir_safe._smtp.server.extensions import MAIL_PARAMETERS, RCPT_PARAMETERS

OFFER = Offer(max_size=100)


@pytest.mark.parametrize(
    ("argument", "address"),
    [
        ("FROM:<>", ""),
        ("FROM:<a@example.com>", "a@example.com"),
        ("from: <a@example.com> ", "a@example.com"),
        ("FROM:a@example.com", "a@example.com"),
        ("FROM:<root>", "root"),
        ("FROM:<a..b.@example.com>", "a..b.@example.com"),
        ("FROM:<@relay,@other:a@example.com>", "a@example.com"),
        ('FROM:<"a b > c"@example.com>', '"a b > c"@example.com'),
        (r'FROM:<"a\"b"@example.com>', r'"a\"b"@example.com'),
        ("FROM:<a@[127.0.0.1]>", "a@[127.0.0.1]"),
    ],
)
def test_senders_that_pass(argument: str, address: str) -> None:
    assert parse_sender(argument).address == address


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        (None, "501 5.5.4"),
        ("<a@b>", "501 5.5.4"),
        ("TO:<a@b>", "501 5.5.4"),
        ("FROM:", "553 5.1.7"),
        ("FROM:<a@b", "553 5.1.7"),
        ("FROM:<a b@c>", "553 5.1.7"),
        ("FROM:<a@b>SIZE=1", "553 5.1.7"),
        ("FROM:<a\rX-Evil: 1@b>", "553 5.1.7"),
        ('FROM:<"a\rb"@c>', "553 5.1.7"),
        ('FROM:<"a\nb"@c>', "553 5.1.7"),
        ("FROM:<a\0@b>", "553 5.1.7"),
        ("FROM:<a\x1b[31m@b>", "553 5.1.7"),
        ("FROM:<a\x9b31m@b>", "553 5.1.7"),
        ("FROM:<a\u202egpj@b> SMTPUTF8", "553 5.1.7"),
        ("FROM:<\udcff@b> SMTPUTF8", "553 5.1.7"),
        ("FROM:<ä@example.com>", "553 5.6.7"),
        ("FROM:<" + "a" * 320 + "@b>", "553 5.1.7"),
        ("FROM:<a@b> SIZE=1 SIZE=2", "501 5.5.4"),
        ("FROM:<a@b> =1", "501 5.5.4"),
    ],
)
def test_senders_that_are_refused(argument: str | None, code: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_sender(argument)
    assert refused.value.reply.startswith(code)


def test_utf8_is_for_those_who_ask() -> None:
    assert parse_sender("FROM:<ä@example.com> SMTPUTF8").address == "ä@example.com"
    assert parse_recipient("TO:<ä@example.com>", utf8=True).address == "ä@example.com"
    with pytest.raises(Refused, match=r"553 5\.6\.7"):
        parse_recipient("TO:<ä@example.com>", utf8=False)


def test_the_null_recipient_is_refused() -> None:
    with pytest.raises(Refused, match=r"553 5\.1\.3"):
        parse_recipient("TO:<>", utf8=False)


@pytest.mark.fuzz
@settings(deadline=None)  # a busy machine is no failure
@given(st.text(alphabet=st.characters(), max_size=40), st.booleans())
def test_no_address_ever_holds_a_character_that_is_not_printable(text: str, utf8: bool) -> None:
    for argument in (f"TO:<{text}>", f"TO:{text}", f'TO:<"{text}"@example.com>'):
        try:
            path = parse_recipient(argument, utf8)
        except Refused:
            continue
        assert path.address.isprintable()
        assert path.address
        assert utf8 or path.address.isascii()


@pytest.mark.parametrize(
    "parameters",
    [
        "SIZE=10 BODY=8BITMIME",
        "body=7bit",
        "SMTPUTF8",
        "RET=FULL ENVID=QQ314159",
        "RET=hdrs",
        "AUTH=<>",
        "AUTH=a+2Bb@example.com",
    ],
)
def test_sender_parameters_that_pass(parameters: str) -> None:
    check_parameters(MAIL_PARAMETERS, parse_sender(f"FROM:<a@b> {parameters}").parameters, "MAIL", OFFER)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("SIZE=101", "552 5.3.4"),
        ("SIZE=x", "501 5.5.4"),
        ("SIZE=²", "501 5.5.4"),
        ("SIZE", "501 5.5.4"),
        ("SIZE=" + "9" * 5000, "501 5.5.4"),
        ("BODY=BINARYMIME", "501 5.5.4"),
        ("SMTPUTF8=yes", "501 5.5.4"),
        ("RET=ALL", "501 5.5.4"),
        ("ENVID=+0D+0AX", "501 5.5.4"),
        ("XEVIL=1", "555 5.5.4"),
    ],
)
def test_sender_parameters_that_are_refused(parameters: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        check_parameters(MAIL_PARAMETERS, parse_sender(f"FROM:<a@b> {parameters}").parameters, "MAIL", OFFER)
    assert refused.value.reply.startswith(code)


def test_recipient_parameters() -> None:
    def check(parameters: str) -> str | None:
        found = parse_recipient(f"TO:<a@b> {parameters}", utf8=False).parameters
        check_parameters(RCPT_PARAMETERS, found, "RCPT", OFFER)
        return original_recipient(found)

    assert check("NOTIFY=NEVER") is None
    assert check("NOTIFY=SUCCESS,delay ORCPT=rfc822;Bob+2Btag@example.com") == "Bob+tag@example.com"
    for wrong in ("NOTIFY=", "NOTIFY=NEVER,DELAY", "ORCPT=a@b", "ORCPT=rfc822;a+0Ab@c"):
        with pytest.raises(Refused, match=r"501 5\.5\.4"):
            check(wrong)
    with pytest.raises(Refused, match=r"555 5\.5\.4"):
        check("SIZE=1")


def test_xtext() -> None:
    assert decode_xtext("a+3Db+C3+A4") == "a=bä"
    with pytest.raises(Refused):
        decode_xtext("+FF")
