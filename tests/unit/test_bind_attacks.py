"""A unix socket in a directory that others may write: mode and group go to the socket alone."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from maildir_safe._smtp.server import bind

OURS = str(os.getgid())


def test_the_socket_has_its_mode_and_group_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "lmtp", []
    monkeypatch.setattr(bind, "give_socket", lambda *what: seen.append((*what, path.stat().st_mode)))
    with bind.listen(str(path), 0o660, OURS):
        pass
    ((of, group, mode),) = seen
    assert (of, group, stat.S_IMODE(mode)) == (str(path), os.getgid(), 0o660)
    mask = os.umask(0)
    os.umask(mask)
    assert mask & 0o700 == 0  # it is as before


def link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def hard_link(path: Path, victim: Path) -> None:
    os.link(victim, path)


def fifo(path: Path, victim: Path) -> None:  # noqa: ARG001
    os.mkfifo(path)


def directory(path: Path, victim: Path) -> None:  # noqa: ARG001
    path.mkdir()


def anothers_socket(path: Path, victim: Path) -> None:
    victim.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(victim))
    os.link(victim, path)


def nothing(path: Path, victim: Path) -> None:
    """Removed, and not replaced."""


@pytest.mark.parametrize("put", [link, hard_link, fifo, directory, anothers_socket, nothing])
def test_what_is_put_in_the_sockets_place_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put: Callable[[Path, Path], None]
) -> None:
    victim, path = tmp_path / "victim", tmp_path / "lmtp"
    victim.write_text("root's")
    victim.chmod(0o600)
    changed: list[object] = []
    monkeypatch.setattr(os, "chown", lambda *what: changed.append(what))

    class Swapped(socket.socket):
        def bind(self, address: object) -> None:
            super().bind(address)  # type: ignore[arg-type]
            path.unlink()
            put(path, victim)

    monkeypatch.setattr(bind.socket, "socket", Swapped)
    before = [(one.name, one.lstat().st_mode) for one in tmp_path.iterdir() if one == victim]
    with pytest.raises(bind.CannotListen):
        bind.listen(str(path), 0o666, OURS)
    assert changed == []
    if put is not anothers_socket:
        assert [(one.name, one.lstat().st_mode) for one in tmp_path.iterdir() if one == victim] == before
