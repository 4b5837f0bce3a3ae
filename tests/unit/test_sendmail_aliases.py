"""The aliases file and masquerading of `sendmail`."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from test_cli_sendmail import sendmail

from maildir_safe._submission import Rejected
from maildir_safe._submission.aliases import Aliases
from tests.spool_support import queued

FILE = """\
# a comment
root: ann, Ops Team <ops@example.org>
postmaster:	root
"info desk": ann,
    bob@example.net
ann: \\ann, archive
archive: a@archive.example
loop: pool
pool: loop, x@y
prog: "|/usr/bin/vacation ann"
pipe: ann, |cat
file: /var/mail/x
list: :include:/etc/list
nothing:
bad: a b c
nested: prog
"""


def expand(*recipients: str, text: str = FILE) -> list[str]:
    return Aliases(text, "here.example", ["here.example", "mx"]).expand(recipients)


@pytest.mark.parametrize(
    ("recipient", "to"),
    [
        ("root@here.example", ["ann@here.example", "a@archive.example", "ops@example.org"]),
        ("RooT@MX", ["ann@here.example", "a@archive.example", "ops@example.org"]),
        ("postmaster@mx", ["ann@here.example", "a@archive.example", "ops@example.org"]),
        ("info desk@mx", ["ann@here.example", "a@archive.example", "bob@example.net"]),
        ("ann@mx", ["ann@here.example", "a@archive.example"]),
        ("loop@mx", ["loop@here.example", "x@y"]),
        ("root@elsewhere.example", ["root@elsewhere.example"]),
        ("nobody@mx", ["nobody@mx"]),
    ],
)
def test_where_a_name_leads(recipient: str, to: list[str]) -> None:
    assert expand(recipient) == to


@pytest.mark.parametrize(
    ("name", "reason"),
    [("prog", "a program"), ("pipe", "a program"), ("file", "a file"), ("list", "an include"),
     ("nothing", "nowhere"), ("bad", "cannot understand"), ("nested", "a program")],
)  # fmt: skip
def test_what_is_no_address_is_refused_for_that_name_alone(name: str, reason: str) -> None:
    with pytest.raises(Rejected, match=reason) as refused:
        expand("ann@mx", f"{name}@mx")
    assert refused.value.exit_code == 65


@pytest.mark.parametrize(
    "text",
    [
        "no colon\n",
        " continues nothing\n",
        ": a@b\n",
        '"open: a@b\n',
        "a: b\na: c\n",
        "|x: a@b\n",
        '"a" b: c\n',
    ],
)
def test_a_line_that_is_no_alias(text: str) -> None:
    with pytest.raises(ValueError, match=r"line \d"):
        Aliases(text, "here.example", ["mx"])


def test_aliases_that_grow_are_bounded() -> None:
    doubling = "".join(f"a{n}: a{n + 1}, b{n + 1}\nb{n}: a{n + 1}, b{n + 1}\n" for n in range(40))
    assert expand("a0@mx", text=doubling) == ["a40@here.example", "b40@here.example"]  # not in 2^40 steps
    with pytest.raises(Rejected, match="nested"):
        expand("a0@mx", text="".join(f"a{n}: a{n + 1}\n" for n in range(60)))
    with pytest.raises(Rejected, match="more than"):
        expand("all@mx", text="all: " + ", ".join(f"u{n}@x" for n in range(10_001)))


@given(st.text(alphabet='ab:,"\\|/<>@ \n\t#'))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = Aliases(text, "here.example", ["mx"]).expand(["a@mx", "b@mx"])
    except (ValueError, Rejected):
        return
    assert all("@" in address for address in found)


# As a program


def configure(spool: Path, more: str) -> None:
    with (spool.parent / "sendmail.toml").open("a") as file:
        file.write(more)


def test_mail_goes_where_the_file_says(spool: Path) -> None:
    aliases = spool.parent / "aliases"
    aliases.write_text(FILE)
    configure(spool, f'aliases = "{aliases}"\n')
    done = sendmail("-f", "s@x", "root", "c@d")
    assert (done.returncode, done.stderr) == (0, b"")
    assert [item[1] for item in queued(spool)] == [
        ("ann@here.example", "a@archive.example", "ops@example.org", "c@d")
    ]
    done = sendmail("-f", "s@x", "prog", "c@d")
    assert done.returncode == 65
    assert b"'prog' leads to a program, which is not supported" in done.stderr
    assert len(queued(spool)) == 1


def test_a_wrong_file_is_a_wrong_configuration_and_newaliases_says_so(spool: Path) -> None:
    aliases = spool.parent / "aliases"
    configure(spool, f'aliases = "{aliases}"\n')
    for text, reason in ((None, b"No such file"), ("root ann\n", b"line 1 is not")):
        if text is not None:
            aliases.write_text(text)
        for done in (sendmail("c@d"), sendmail(name="newaliases")):
            assert done.returncode == 78
            assert reason in done.stderr
    aliases.write_text(FILE)
    assert sendmail(name="newaliases").returncode == 0
    assert queued(spool) == []


def test_newaliases_before_anything_is_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILDIR_SAFE_SENDMAIL_CONFIG", str(tmp_path / "none.toml"))
    assert sendmail(name="newaliases").returncode == 0


MESSAGE = b"""\
From: "Ann@here.example" <ann@HERE.example>, bob@localhost (at here.example)
Sender: root
To: carl@here.example, eve
Message-ID: <1@here.example>
Date: Mon, 30 Nov 2026 12:00:00 +0000

ann@here.example
"""


def test_a_masqueraded_host_is_not_seen_in_senders(spool: Path) -> None:
    configure(spool, 'masquerade = "example.org"\n')
    done = sendmail("-f", "root", "-t", stdin=MESSAGE)
    assert (done.returncode, done.stderr) == (0, b"")
    ((sender, recipients, message),) = queued(spool)
    assert sender == "root@example.org"
    assert recipients == ("carl@here.example", "eve@here.example")
    assert (
        message.partition(b"From:")[2]
        == (
            MESSAGE.replace(b"<ann@HERE.example>, bob@localhost", b"<ann@example.org>, bob@example.org")
            .replace(b"Sender: root", b"Sender: root@example.org")
            .replace(b", eve\n", b", eve@here.example\n")
            .partition(b"From:")[2]
        )
    )


def test_without_masquerade_senders_stay(spool: Path) -> None:
    assert sendmail("-f", "ann@localhost", "-t", stdin=MESSAGE).returncode == 0
    ((sender, _, message),) = queued(spool)
    assert sender == "ann@localhost"
    assert b"<ann@HERE.example>, bob@localhost (at" in message


@pytest.mark.parametrize("more", ['masquerade = "a b"\n', 'aliases = "relative"\n', "aliases = 1\n"])
def test_wrong_values_are_78(spool: Path, more: str) -> None:
    configure(spool, more)
    assert sendmail("c@d").returncode == 78
