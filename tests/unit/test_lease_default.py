"""The default lease fits the mount, and `queue fence` does not wait for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from maildir_safe import LeaseLost, Maildir, Queue
from maildir_safe._cli import main
from maildir_safe._queue.store.mount_rules import default_lease


@pytest.mark.parametrize(
    ("fstype", "measured", "lease"),
    [
        ("ext4", None, 10),
        ("fuse.glusterfs", None, 10),
        ("ceph", None, 10),
        ("cifs", None, 15),
        ("fuse.sshfs", None, 60),
        ("nfs4", None, 90),
        ("fuse.unheard-of", None, 300),
        ("fuse.unheard-of", 0.02, 10),
        ("nfs4", 0.06, 10),
        ("ext4", 40.1, 121),
    ],
)
def test_the_default_lease_is_what_the_mount_needs(fstype: str, measured: float | None, lease: int) -> None:
    assert default_lease(fstype, measured) == lease


def on_host(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """From now on this process says that it runs on another host."""
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename=name))


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    on_host(monkeypatch, "mx1")
    return str(tmp_path / "spool")


def test_fence_returns_what_a_dead_host_had_claimed(
    spool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = Queue(spool, heartbeat=False)
    ident = dead.put(b"Subject: x\n\n", "a@example.org", ["b@example.org"])
    (claim,) = dead.claim(1)
    on_host(monkeypatch, "mx2")
    other = Queue(spool, heartbeat=False)
    assert other.claim(1) == []
    assert main(["queue", "fence", spool, "mx1", "--yes"]) == 0
    assert "mx1: 1 workers fenced, 1 items returned" in capsys.readouterr().err
    (taken,) = other.claim(1)
    assert taken.id == ident
    taken.ack_into(Maildir(tmp_path / "M"))
    with pytest.raises(LeaseLost):  # the dead host was alive
        claim.ack_into(Maildir(tmp_path / "M"))
    assert len(list(Maildir(tmp_path / "M").messages())) == 1
    assert main(["queue", "fence", spool, "mx1", "--yes"]) == 1


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("", 1), ("y\n", 0)])
def test_fence_asks(
    spool: str, answer: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = Queue(spool, heartbeat=False)
    dead.put(b"x\n", "a@example.org", ["b@example.org"])
    claims = dead.claim(1)
    on_host(monkeypatch, "mx2")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True, readline=lambda: answer))
    assert main(["queue", "fence", spool, "mx1"]) == code
    assert "may be sent twice" in capsys.readouterr().err
    assert Queue(spool, heartbeat=False).stats()["pending"] == (0 if code else 1)
    assert len(claims) == 1


def test_fence_without_a_terminal_needs_yes(
    spool: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Queue(spool)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False))
    assert main(["queue", "fence", spool, "mx9"]) == 64
    assert "--yes" in capsys.readouterr().err


def test_fence_refuses_this_host(spool: str, capsys: pytest.CaptureFixture[str]) -> None:
    Queue(spool)
    assert main(["queue", "fence", spool, "mx1", "--yes"]) == 64
    assert "not another host" in capsys.readouterr().err
