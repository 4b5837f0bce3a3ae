"""A Coda conflict is called one: of a spool, and where probe and torture are asked to work."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from maildir_safe import Queue
from maildir_safe._cli import main
from maildir_safe._queue.store.layout import DIRECTORIES
from maildir_safe.errors import TemporaryError
from maildir_safe.testing.simfs import Fault, SimHost
from tests.model.queue_world import SPOOL, new_server

CONFLICT = "@7f000001.1.1@realm."


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("where", ["", *DIRECTORIES])
def test_a_spool_in_conflict_is_called_so(tmp_path: Path, where: str, create: bool) -> None:
    """It said "Not a directory", or that there is no spool and a put makes one."""
    spool = tmp_path / "spool"
    Queue(spool).close()
    (spool / where).rename(tmp_path / "away")
    (spool / where).symlink_to(CONFLICT)
    with pytest.raises(TemporaryError, match="is in conflict") as raised:
        Queue(spool, create=create)
    assert str(spool / where) in str(raised.value)
    assert (spool / where).is_symlink()


@pytest.mark.parametrize("error", [errno.ELOOP, errno.ENOTDIR])
@pytest.mark.parametrize("where", [SPOOL, f"{SPOOL}/pending"])
def test_right_after_a_conflict_of_a_spool_the_error_names_it(error: int, where: str) -> None:
    server = new_server("nfs4")
    with pytest.raises(TemporaryError, match="conflict"):
        Queue(
            SPOOL, create=False, fs=SimHost(server, faults=[Fault("open_dir", error, times=99, match=where)])
        )


def test_a_spool_that_is_not_there_is_no_conflict(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError, match="there is no spool") as raised:
        Queue(tmp_path / "spool", create=False)
    assert "conflict" not in str(raised.value)


@pytest.mark.parametrize("verb", [["probe"], ["torture", "--minutes", "0.01"]])
def test_probe_and_torture_name_a_conflict(
    tmp_path: Path, verb: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m").symlink_to(CONFLICT)
    assert main([*verb, str(tmp_path / "m")]) == 75
    assert f"{tmp_path / 'm'} is in conflict" in capsys.readouterr().err
    assert main([*verb, str(tmp_path / "other")]) == 75
    assert "conflict" not in capsys.readouterr().err
