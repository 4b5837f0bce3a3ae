"""The command around its verbs, and those that people call: ls, show, clean."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

from maildir_safe import Maildir, __version__
from maildir_safe._cli import FOR_PROGRAMS, VERBS, main
from maildir_safe._cli.output import bytes_text, visible

HOSTILE = (
    b"From: =?utf-8?q?=1B[2J=E2=80=AEAnn?= <ann@example.com>\nTo: bob@example.org\n"
    b"Subject: =?utf-8?b?" + b"G1sySg==" + b"?= raw \x1b[31m\xff\nContent-Type: text/plain; charset=utf-8\n\n"
    b"Body \x1b[2J\x9b31m\ttab \xe2\x82\xac\nnext\n"
)
WITH_ATTACHMENT = b"""\
From: ann@example.com
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=X

--X
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Gr=C3=BC=C3=9Fe aus Mail.
--X
Content-Type: application/octet-stream
Content-Disposition: attachment; filename="a\x1bb.bin"
Content-Transfer-Encoding: base64

AAECAwQFBgcICQ==
--X--
"""


@pytest.fixture
def box(tmp_path: Path) -> Maildir:
    return Maildir(tmp_path / "Maildir")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


# the table


def test_every_verb_has_its_module() -> None:
    for verb, what in VERBS.items():
        module = import_module(f"maildir_safe._cli.{verb.replace('-', '_')}")
        assert callable(module.main if verb in FOR_PROGRAMS else module.run)
        assert what


def test_help_lists_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for verb in VERBS:
        assert f"  {verb} " in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"maildir-safe {__version__}\n", "")


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in FOR_PROGRAMS])
def test_help_of_each_verb(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([verb, "--help"])
    assert exit_.value.code == 0
    assert f"usage: maildir-safe {verb}" in capsys.readouterr().out


def test_a_verb_loads_no_other() -> None:
    script = (
        "import sys; from maildir_safe._cli import main; main(['ls', sys.argv[1]]);"
        " print([m for m in sys.modules if m.startswith('maildir_safe._cli.')], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "/nowhere"], capture_output=True, text=True, check=False
    )
    loaded = {name.rpartition(".")[2] for name in done.stderr.splitlines()[-1].strip("[]").split("'")[1::2]}
    assert loaded == {"ls", "output", "maildir_argument", "arguments"}


# text that a stranger wrote


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Grüße €", "Grüße €"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b31m\x00\x7f", r"\x9b31m\x00\x7f"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("line\nbreak", r"line\nbreak"),
        ("\udcff", r"\udcff"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_visible_keeps_what_it_is_told_to() -> None:
    assert visible("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\x1b"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 30, "3.0 GiB")],
)
def test_bytes_text(size: int, text: str) -> None:
    assert bytes_text(size) == text


@pytest.mark.parametrize("verb", ["ls", "show"])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_nothing_in_a_message_steers_the_terminal(
    verb: str, options: list[str], box: Maildir, capsys: pytest.CaptureFixture[str]
) -> None:
    key = box.deliver(HOSTILE, sender="ann@example.com").key
    code, out, _ = run(capsys, verb, *options, box.path, *([key] if verb == "show" else []))
    assert code == 0
    assert "ann@example.com" in out
    assert "raw" in out
    assert all(c.isprintable() or c in "\n\t" for c in out)


# ls


def test_ls(box: Maildir, capsys: pytest.CaptureFixture[str]) -> None:
    first = box.deliver(b"From: a@b\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n\nx\n").key
    second = box.deliver(b"Subject: two\n\n").key
    box.set_flags(first, "RS")
    code, out, err = run(capsys, "ls", box.path + "/")
    one, two = out.splitlines()
    assert (code, err) == (0, "")
    assert one.split() == [first, "RS", str(box.find(first).size), "a@b", "Grüße"]
    assert two.split() == [second, "new", "14", "two"]


def test_ls_json(box: Maildir, capsys: pytest.CaptureFixture[str]) -> None:
    key = box.deliver(b"From: a@b\nTo: c@d\nDate: Mon, 23 Nov 2026 00:00:00 +0000\nSubject: s\n\nx\n").key
    _, out, _ = run(capsys, "ls", "--json", box.path)
    assert json.loads(out) == {
        "key": key,
        "subdir": "new",
        "flags": "",
        "size": box.find(key).size,
        "from": "a@b",
        "to": "c@d",
        "date": "Mon, 23 Nov 2026 00:00:00 +0000",
        "subject": "s",
    }


def test_ls_of_a_folder(box: Maildir, capsys: pytest.CaptureFixture[str]) -> None:
    key = box.deliver(b"Subject: s\n\n", folder="Archive.2026").key
    assert run(capsys, "ls", box.path) == (0, "", "")
    assert key in run(capsys, "ls", "-m", "Archive.2026", box.path)[1]


@pytest.mark.parametrize("words", [["/nowhere"], ["-m", "Absent", "BOX"], ["-m", "../x", "BOX"]])
def test_ls_of_nothing(words: list[str], box: Maildir, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "ls", *(box.path if word == "BOX" else word for word in words))
    assert (code, out) == (75, "")
    assert err.startswith("maildir-safe ls: ")
    assert sorted(os.listdir(box.path)) == ["cur", "new", "tmp"]


@pytest.mark.parametrize("verb", ["ls", "clean"])
def test_an_ordinary_directory_is_said_to_be_no_maildir(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It spoke of a conflict, of a lost mount, and of mkdir."""
    (tmp_path / "thesis.tex").touch()
    _, out, err = run(capsys, verb, str(tmp_path))
    assert out == ""
    assert err == f"maildir-safe {verb}: {tmp_path} is not a Maildir: it has none of tmp/, new/ and cur/\n"


def test_a_maildir_that_lacks_a_directory_is_another_matter(
    box: Maildir, capsys: pytest.CaptureFixture[str]
) -> None:
    os.rmdir(f"{box.path}/new")
    assert "a conflict or a lost mount looks like this" in run(capsys, "ls", box.path)[2]


def test_ls_goes_on_after_what_cannot_be_read(box: Maildir, capsys: pytest.CaptureFixture[str]) -> None:
    os.symlink("@7f000123.0000002a.00000001", f"{box.path}/new/1.link")  # as Coda shows a conflict
    os.symlink("/etc/passwd", f"{box.path}/new/2.link")
    os.mkfifo(f"{box.path}/new/1700000000.M1P1.host")
    key = box.deliver(b"Subject: s\n\n").key
    code, out, err = run(capsys, "ls", box.path)
    assert code == 1
    assert out.startswith(key)
    assert err.startswith("maildir-safe ls: ")
    assert err.splitlines() == [
        f"maildir-safe ls: {box.path}/new/1.link is in conflict (a link to @7f000123.0000002a.00000001); "
        "repair it with the file system's tools"
    ]


# show


def test_show(box: Maildir, capsys: pytest.CaptureFixture[str]) -> None:
    key = box.deliver(WITH_ATTACHMENT, sender="ann@example.com").key
    for name in (key, key.partition("R")[2][:16]):  # any part that no other has
        code, out, err = run(capsys, "show", box.path, name)
        assert (code, err) == (0, "")
        head, _, body = out.partition("\n\n")
        assert head.splitlines() == [
            "Return-Path: <ann@example.com>",
            "From: ann@example.com",
            "Subject: Grüße",
        ]
        assert body == "Grüße aus Mail.\n\n[attached: a b.bin, application/octet-stream, 10 B]\n"
    assert box.find(key).subdir == "new"


def test_what_is_too_much_is_not_shown_and_said(box: Maildir, capsys: pytest.CaptureFixture[str]) -> None:
    key = box.deliver(b"Subject: s\nContent-Type: multipart/mixed; boundary=x\n\n" + b"--x\n\n" * 2000).key
    code, out, _ = run(capsys, "show", box.path, key)
    assert code == 0
    assert out.endswith("[not all of it is shown: it has more than 1000 parts]\n")
    assert json.loads(run(capsys, "show", "--json", box.path, key)[1])["problem"]


def test_headers_in_plain_utf_8(box: Maildir, capsys: pytest.CaptureFixture[str]) -> None:
    key = box.deliver("From: Jürgen <j@example.com>\nSubject: Grüße\n\nx\n".encode()).key
    for words in (["ls", box.path], ["show", box.path, key]):
        out = run(capsys, *words)[1]
        assert "Jürgen <j@example.com>" in out
        assert "Grüße" in out


def test_show_json(box: Maildir, capsys: pytest.CaptureFixture[str]) -> None:
    receipt = box.deliver(WITH_ATTACHMENT)
    shown = json.loads(run(capsys, "show", "--json", box.path, receipt.key)[1])
    assert shown["path"] == receipt.path
    assert ["Subject", "Grüße"] in shown["headers"]
    assert shown["text"].strip() == "Grüße aus Mail."
    assert [(a["type"], a["size"]) for a in shown["attachments"]] == [("application/octet-stream", 10)]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"no header at all",
        b"\n\nonly a body\n",
        b"Content-Type: text/plain; charset=no-such-charset\n\n\xff\n",
        b"Content-Type: multipart/mixed\n\nno boundary\n",
        b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n!!!\n",
        b"From: \xff\xfe\nDate: nonsense\nTo: a@b,,;<<>\nSubject: =?x?y?z?=\n\n",
        b"From: " + b"(" * 500 + b"\n\n",
        b"From: " + b"a@b, " * 50_000 + b"\n\n",  # the parser of `email` takes minutes for it
        b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\n" * 20_000,
        b"".join(b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (n, n) for n in range(3000)),
    ],
)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_broken_messages_are_shown(
    message: bytes, options: list[str], box: Maildir, capsys: pytest.CaptureFixture[str]
) -> None:
    key = box.deliver(message).key
    assert run(capsys, "show", *options, box.path, key)[0] == 0
    assert key in run(capsys, "ls", box.path)[1]


@pytest.mark.parametrize(
    ("part", "says"), [("absent", "no message"), ("M", "2 messages"), ("", "no message")]
)
def test_show_of_none_or_many(part: str, says: str, box: Maildir, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        box.deliver(b"Subject: s\n\n")
    code, out, err = run(capsys, "show", box.path, part)
    assert (code, out) == (1, "")
    assert says in err


@pytest.mark.parametrize(
    "raw",
    [
        b"Subject: deep\n"
        + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(300))
        + b"\n" * 1_900_000,
        b"Subject: deep\nFrom: " + b'"a" <b@c>, ' * 25_000 + b"\n\n",
        b"Subject: deep\nContent-Type: multipart/mixed; boundary=x\n\n"
        + (b"--x\nContent-Type: text/plain" + b";" * 30_000 + b"\n\nx\n") * 700,
    ],
    ids=["nested", "from", "parameters"],
)
def test_no_message_costs_ls_and_show_minutes(
    raw: bytes, box: Maildir, capsys: pytest.CaptureFixture[str]
) -> None:
    key = box.deliver(raw).key
    assert "deep" in run(capsys, "ls", box.path)[1]
    assert "Subject: deep" in run(capsys, "show", box.path, key)[1]


def test_ls_and_show_read_headers_as_the_page_does(box: Maildir, capsys: pytest.CaptureFixture[str]) -> None:
    head = "From: =?utf-8?q?boss=40bank=3E=2C?= <ada@dömäin>\nSubject: Grüße =?x-none?q?=C3=A4?=\n"
    key = box.deliver(head.encode() + b"Content-Type: text/html\n\n<p>Dear <b>you</b></p>\n").key
    sender = '"boss@bank>," <ada@dömäin>'
    for words in (["ls", box.path], ["show", box.path, key]):
        _, out, _ = run(capsys, *words)
        assert sender in out
        assert "Grüße ä" in out
    assert "\nDear you\n" in run(capsys, "show", box.path, key)[1]


def test_show_says_what_it_does_not_show(box: Maildir, capsys: pytest.CaptureFixture[str]) -> None:
    key = box.deliver(b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\n\nhi\n" * 1500).key
    assert "more than 1000 parts" in run(capsys, "show", box.path, key)[1]


# clean


@pytest.fixture
def abandoned(box: Maildir) -> list[str]:
    """Two old files, one of them in a folder, and a young one."""
    box.folder("Archive")
    paths = [f"{box.path}/tmp/1.old", f"{box.path}/.Archive/tmp/2.old", f"{box.path}/tmp/3.young"]
    for path in paths:
        Path(path).write_bytes(b"x" * 100)
    for path in paths[:2]:
        os.utime(path, times=(time.time() - 37 * 3600,) * 2)
    return paths


def test_clean(box: Maildir, abandoned: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "clean", "--dry-run", box.path)
    assert (code, out.splitlines(), err) == (
        *(0, abandoned[:2]),
        "2 would be removed (200 B), 1 too young, 0 failed\n",
    )
    assert all(os.path.exists(path) for path in abandoned)
    code, out, err = run(capsys, "clean", box.path)
    assert (code, out.splitlines(), err) == (0, abandoned[:2], "2 removed (200 B), 1 too young, 0 failed\n")
    assert [os.path.exists(path) for path in abandoned] == [False, False, True]


def test_clean_json(box: Maildir, abandoned: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "clean", "--json", box.path)
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "removed": abandoned[:2], "kept": 1, "failed": [], "bytes": 200, "dry_run": False
    }  # fmt: skip


def test_clean_goes_on_after_a_folder_that_is_none(
    box: Maildir, abandoned: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkdir(f"{box.path}/.AAA")
    code, out, err = run(capsys, "clean", box.path)
    assert (code, out.splitlines()) == (1, abandoned[:2])
    assert "AAA" in err
    assert "1 failed" in err


# streams


def test_broken_pipe_is_no_error(box: Maildir) -> None:
    for _ in range(2):
        box.deliver(b"Subject: " + b"s" * 100_000 + b"\n\n")  # more than a pipe holds
    program = "from maildir_safe._cli import main; import sys; sys.exit(main())"
    command = f"{sys.executable} -c '{program}' ls {box.path}"
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -c 1; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("0\n")
    assert done.stderr == ""


def test_full_disk_is_an_error(box: Maildir) -> None:
    box.deliver(b"Subject: s\n\n")
    script = "from maildir_safe._cli import main; import sys; sys.exit(main())"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", script, "ls", box.path], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 75
    assert b"No space left on device" in done.stderr


@pytest.mark.parametrize("verb", sorted(set(VERBS) - set(FOR_PROGRAMS)))
def test_a_wrong_use_is_exit_64_for_every_verb_but_those_of_mail_servers(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([verb, "--no-such-option"])
    assert ended.value.code == 64
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"maildir-safe {verb}")
