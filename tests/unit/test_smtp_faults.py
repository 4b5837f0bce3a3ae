"""Scripted faults: each kind, seen from the sender's side, and what is in the Maildir then."""

from __future__ import annotations

import re
import smtplib
import time
from pathlib import Path
from typing import Any

import pytest
from smtp_support import Wire, serving, stored

from maildir_safe._smtp.faults.faults import Fault, Faults

MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"


def send(server: Any, sender: str = "a@b", recipients: tuple[str, ...] = ("c@d",)) -> tuple[int, str]:
    """Send one message; the first reply that is no success, or the last one."""
    with smtplib.SMTP(server.host, server.port, timeout=20) as client:
        client.ehlo()
        code, text = client.mail(sender)
        for recipient in recipients:
            if code < 400:
                code, text = client.rcpt(recipient)
        try:
            code, text = client.data(MESSAGE) if code < 400 else (code, text)
        except smtplib.SMTPDataError as error:  # how smtplib tells that DATA itself is refused
            code, text = error.smtp_code, error.smtp_error
        return code, text.decode()


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "received", "stored"])
def test_a_refusal_at_each_stage(tmp_path: Path, stage: str) -> None:
    faults = Faults()
    faults.add(stage=stage, reply="452 4.2.2 Mailbox full", times=1)
    with serving(tmp_path, faults) as server:
        assert send(server) == (452, "4.2.2 Mailbox full")
        assert len(stored(tmp_path / "M")) == (stage == "stored")
        assert send(server)[0] == 250
    assert faults.fired == {stage: 1}


@pytest.mark.parametrize(("stage", "copies"), [("connect", 0), ("rcpt", 0), ("received", 0), ("stored", 1)])
def test_a_drop_at_each_stage(tmp_path: Path, stage: str, copies: int) -> None:
    faults = Faults([Fault(stage=stage, drop=True, times=1)])
    with serving(tmp_path, faults) as server:
        with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
            send(server)
        assert len(stored(tmp_path / "M")) == copies
        assert send(server)[0] == 250
        assert "error" not in server.text.getvalue()  # type: ignore[attr-defined]


def test_a_refused_connection(tmp_path: Path) -> None:
    with serving(tmp_path, Faults([Fault(stage="connect", reply="554 5.7.1 Go away")])) as server:
        wire = Wire(server.service.smtp_addresses[0], greeting="554 5.7.1 Go away")
        assert wire.reply() == ""


def test_the_third_rcpt_gets_421(tmp_path: Path) -> None:
    with serving(tmp_path, Faults([Fault(stage="rcpt", nth=3, reply="421 4.3.2 Enough")])) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO x")
        wire.ask("MAIL FROM:<a@b>")
        assert [wire.ask("RCPT TO:<c@d>")[:3] for _ in range(3)] == ["250", "250", "421"]
        assert wire.reply() == ""
        assert send(server)[0] == 250


def test_an_answer_that_comes_late(tmp_path: Path) -> None:
    with serving(tmp_path, Faults([Fault(stage="stored", delay=0.4)])) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data()
        start = time.monotonic()
        wire.send(MESSAGE + b".\r\n")
        while not list((tmp_path / "M" / "new").iterdir()):
            assert time.monotonic() < start + 60
            time.sleep(0.01)
        assert wire.reply().startswith("250")
        assert time.monotonic() - start >= 0.4  # not a figure of speed: the script says 0.4


def test_only_for_some_addresses(tmp_path: Path) -> None:
    with serving(
        tmp_path, Faults([Fault(stage="rcpt", match="*@bad.example", reply="550 5.1.1 No")])
    ) as server:
        assert send(server, recipients=("a@bad.example",))[0] == 550
        assert send(server, recipients=("a@good.example",))[0] == 250


def test_greylisting_and_rates_on_a_clock() -> None:
    now = [0.0]
    faults = Faults(
        [Fault(stage="rcpt", greylist=60), Fault(stage="mail", rate="2/minute")], clock=lambda: now[0]
    )

    def refused(stage: str, key: str) -> bool:
        return faults.at(stage, key=(key,)) is not None

    assert [refused("rcpt", "a"), refused("rcpt", "b")] == [True, True]
    now[0] = 59.0
    assert refused("rcpt", "a")
    now[0] = 60.0
    assert not refused("rcpt", "a")
    assert [refused("mail", "") for _ in range(3)] == [False, False, True]
    now[0] = 119.9
    assert refused("mail", "")
    now[0] = 120.0
    assert [refused("mail", "") for _ in range(3)] == [False, False, True]


def test_the_same_seed_does_the_same() -> None:
    def run(seed: int) -> list[bool]:
        faults = Faults([Fault(stage="mail", chance=0.5, reply="450 no")], seed)
        return [faults.at("mail") is not None for _ in range(40)]

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert 0 < sum(run(1)) < 40


@pytest.mark.parametrize(
    ("fault", "reply", "copies"),
    [
        ({"call": "write", "error": "ENOSPC"}, "4.3.1", 0),
        ({"call": "create", "error": "EDQUOT"}, "4.3.1", 0),
        ({"call": "fsync", "error": "EIO"}, "4.3.0", 0),
        ({"call": "rename", "error": "EIO", "executed": True, "times": 1}, "2.0.0", 1),
        ({"call": "rename", "error": "ENOENT", "executed": True, "times": 1}, "2.0.0", 1),
        ({"call": "fsync", "delay": 0.1}, "2.0.0", 1),
    ],
)
def test_faults_below_smtp(tmp_path: Path, fault: dict[str, Any], reply: str, copies: int) -> None:
    """The storage fails, and the sender hears 4xx; a lost reply of a rename is found out: one copy, 250."""
    faults = Faults()
    with serving(tmp_path, faults) as server:
        faults.add(**fault)
        assert send(server)[1].startswith(reply)
        assert faults.fired[fault["call"]] >= 1
        assert len(stored(tmp_path / "M")) == copies
        faults.clear()
        assert send(server)[0] == 250
        assert len(stored(tmp_path / "M")) == copies + 1


def test_a_script_from_a_file(tmp_path: Path) -> None:
    script = tmp_path / "faults.toml"
    script.write_text('seed = 3\n[[fault]]\nstage = "mail"\nreply = "450 4.7.1 Later"\ntimes = 1\n')
    with serving(tmp_path, faults=Faults.read(str(script))) as server:
        assert send(server) == (450, "4.7.1 Later")
        assert send(server)[0] == 250


def test_the_script_in_the_documentation(tmp_path: Path) -> None:
    block = re.search(
        r"```toml\n(seed.*?)```",
        (Path(__file__).parents[2] / "docs/howto/test-server.md").read_text(),
        re.DOTALL,
    )
    assert block
    script = tmp_path / "faults.toml"
    script.write_text(block[1])
    faults = Faults.read(str(script))
    third = faults.at("rcpt", nth=3)
    assert third
    assert third.reply == "421 4.3.2 Busy"
    lost = faults.at("rename")
    assert lost
    assert lost.executed


@pytest.mark.parametrize(
    "text",
    [
        "[[fault]]\nstage = 'nowhere'",
        "[[fault]]\nstage = 'mail'\ncall = 'write'",
        "[[fault]]\nstage = 'mail'\nerror = 'EIO'",
        "[[fault]]\ncall = 'write'\nerror = 'EWHAT'",
        "[[fault]]\ncall = 'write'\nreply = '450 no'",
        "[[fault]]\ncall = 'write'\nexecuted = true",
        "[[fault]]\nstage = 'mail'\nreply = 'no'",
        '[[fault]]\nstage = "mail"\nreply = "450 a\\r\\n250 b"',
        "[[fault]]\nstage = 'mail'\nrate = '10/fortnight'",
        "[[fault]]\nstage = 'mail'\ngreylist = 3",
        "[[fault]]\nstage = 'mail'\nspeed = 3",
        "[[faults]]\nstage = 'mail'",
        "[[fault",
    ],
)
def test_scripts_that_cannot_be(tmp_path: Path, text: str) -> None:
    script = tmp_path / "faults.toml"
    script.write_text(text)
    with pytest.raises(ValueError, match=r"faults\.toml"):
        Faults.read(str(script))


def test_a_field_that_is_none_is_named_with_those_that_are(tmp_path: Path) -> None:
    script = tmp_path / "faults.toml"
    script.write_text("[[fault]]\nstage = 'mail'\nspeed = 3\n_first = 3")
    with pytest.raises(ValueError, match="a fault has no _first, speed; it has stage, call, reply"):
        Faults.read(str(script))
    script.write_text("[[fault]]\nstage = 'mail'\nreply = 3")
    with pytest.raises(ValueError, match="wrong kind"):
        Faults.read(str(script))
