"""What `sendmail` reads without `re` and `tomllib`, which are slow to import, it reads as they would."""

from __future__ import annotations

import random
import tomllib

import pytest

from maildir_safe._smtp.protocol.address import parse_recipient
from maildir_safe._submission import Rejected, settings
from maildir_safe._submission.mailbox_list import addresses, complete_address

PIECES = [
    "spool", "domain", "size_limit", "other", " = ", "=", '"', '"/s"', "'", "\\", "\\n", "#", " # x", "\n",
    "\r\n", "\t", " ", "1", "10", "01", "1_000", "1__0", "_1", "1_", "-1", "\u0661", "\xfc", "\x01", "[a]",
    '"""', "", ".",
]  # fmt: skip


def test_a_plain_configuration_is_read_as_toml_reads_it() -> None:
    chance, plain = random.Random(1), 0
    for _ in range(20_000):
        text = "".join(chance.choices(PIECES, k=chance.randrange(1, 9)))
        found = settings._plain(text)
        if found is not None:
            plain += 1
            assert found == tomllib.loads(text), text
    assert plain > 500


def test_the_configurations_of_the_documents_are_plain() -> None:
    text = '# queue\nspool = "/var/spool/maildir-safe"\n\ndomain = "example.org"\nsize_limit = 50_000_000\n'
    assert settings._plain(text) == {
        "spool": "/var/spool/maildir-safe",
        "domain": "example.org",
        "size_limit": 50_000_000,
    }
    assert settings._plain('spool = "/s" # here') is None


def test_an_address_that_is_taken_as_it_is_is_one_that_the_smtp_server_takes() -> None:
    chance, taken = random.Random(2), 0
    for _ in range(20_000):
        text = "".join(chance.choices("ab1.@-'\"\\ <>[]\xfc\x00/+", k=chance.randrange(1, 12)))
        try:
            whole = complete_address(text, "here.example")
        except Rejected:
            continue
        taken += 1
        path = parse_recipient(f"TO:<{whole}>", utf8=True)
        assert (path.address, path.parameters) == (whole, {})
    assert taken > 500


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('"a\\"b\\\\"@c', ['"a\\"b\\\\"@c']),
        ("a@[1.2.3.4] , b", ["a@[1.2.3.4]", "b"]),
        ("(x (y \\) z) ) a@b (\\()", ["a@b"]),
        ("J\xfcrgen <j\xfc@m\xfc.example>", ["j\xfc@m\xfc.example"]),
        ("\ta@b\r\n ,c@d", ["a@b", "c@d"]),
    ],
)
def test_tokens(text: str, found: list[str]) -> None:
    assert [address.text for address in addresses(text)] == found


@pytest.mark.parametrize(
    "text",
    ['"a', '"a\\', "a@[1.2", "a@[1 2]", "a@[[1]", "(a", "(a\\", "a)", "]", "\\a", "a\x00", "a\x7fb", ")"],
)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="cannot understand"):
        addresses(text)
