"""`create`, `passwd`, the modes of LMTP's socket, and changes of many items of a queue at once."""

from __future__ import annotations

import grp
import io
import os
import pty
import pwd
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from maildir_safe import Maildir, Queue
from maildir_safe._cli import main
from maildir_safe._fs import administration
from maildir_safe._fs.owner import owner_of
from maildir_safe._smtp.protocol.auth import Passwords
from maildir_safe._smtp.server.bind import CannotListen, listen
from maildir_safe._smtp.server.settings import Settings

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


# create


def test_create_makes_a_maildir_and_folders_and_can_be_repeated(tmp_path: Path) -> None:
    command = ["create", f"{tmp_path}/box", "--folder", "Archive.2026", "--folder", "Entwürfe"]
    assert [main(command), main(command)] == [0, 0]
    box = Maildir(tmp_path / "box", create=False)
    assert box.folders() == ["Archive.2026", "Entwürfe"]
    assert stat.S_IMODE((tmp_path / "box").stat().st_mode) == 0o700


def test_create_makes_no_directory_above_and_nothing_for_a_bad_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["create", f"{tmp_path}/unmounted/box"]) == 75
    assert main(["create", f"{tmp_path}/box", "--folder", "../x"]) == 64
    assert main(["create", f"{tmp_path}/box", "--owner", "no such user"]) == 64
    assert "no such user" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory of root's that all users can reach: not so pytest's."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@as_root
def test_create_gives_all_to_the_owner_and_takes_nothing_from_others(shared: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    box = shared / "box"
    box.mkdir()  # as an earlier call leaves it that was killed before it gave it away
    command = ["create", str(box), "--owner", "nobody", "--folder", "Sent"]
    assert [main(command), main(command)] == [0, 0]
    assert {path.stat().st_uid for path in (box, *box.rglob("*"))} == {nobody.pw_uid}
    assert (box / ".Sent" / "new").is_dir()
    assert main(["create", str(box), "--owner", "daemon"]) == 75
    (shared / "roots").mkdir()
    (shared / "roots" / "file").touch()
    assert main(["create", f"{shared}/roots", "--owner", "nobody"]) == 75
    assert (shared / "roots").stat().st_uid == 0


@as_root
def test_create_does_not_follow_a_users_link(shared: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    (shared / "theirs").mkdir()
    (shared / "roots").mkdir()
    (shared / "theirs" / "box").symlink_to(shared / "roots")
    os.chown(shared / "theirs", nobody.pw_uid, nobody.pw_gid)
    assert main(["create", f"{shared}/theirs/box", "--owner", "nobody"]) == 75
    assert (shared / "roots").stat().st_uid == 0
    assert list((shared / "roots").iterdir()) == []


@as_root
def test_create_in_a_users_directory_has_that_users_rights_only(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that the user puts into the path meanwhile leads only where the user may write."""
    nobody = pwd.getpwnam("nobody")
    theirs, roots = shared / "theirs", shared / "roots"
    (theirs / "a").mkdir(parents=True)
    roots.mkdir()
    for path in (theirs, theirs / "a"):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    assert main(["create", f"{theirs}/a/box", "--owner", "nobody"]) == 0
    assert main(["create", f"{theirs}/a/daemons", "--owner", "daemon"]) == 75

    def swap(path: str) -> tuple[int, int] | None:
        found = owner_of(path)
        if path.endswith("/a") and not (theirs / "a").is_symlink():
            (theirs / "a").rename(theirs / "b")
            (theirs / "a").symlink_to(roots)
        return found

    monkeypatch.setattr("maildir_safe._cli.create.owner_of", swap)
    assert main(["create", f"{theirs}/a/other", "--owner", "nobody"]) == 75
    assert (theirs / "a").is_symlink()
    assert list(roots.iterdir()) == []


# passwd


def answer(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in answers)))


def test_passwd_sets_and_changes_one_name_and_leaves_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "passwords"
    modes = []
    for name, password in (("ann", "first"), ("bob", "päss wörd "), ("ann", "second")):
        answer(monkeypatch, password, password)
        assert main(["passwd", str(file), name]) == 0
        modes.append(stat.S_IMODE(file.stat().st_mode))
        file.write_text(file.read_text() + "# a comment\n")
        file.chmod(0o640)
    assert modes == [0o600, 0o640, 0o640]
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    found = Passwords.read(str(file))
    assert found.check("ann", "second")
    assert not found.check("ann", "first")
    assert found.check("bob", "päss wörd ")
    assert file.read_text().count("# a comment") == 3
    assert "second" not in file.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["passwords"]


@pytest.mark.parametrize("answers", [("one", "two"), ("", ""), ("once",), ("nul\0", "nul\0")])
def test_passwd_changes_nothing_if_the_answers_differ_or_are_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: tuple[str, ...]
) -> None:
    answer(monkeypatch, *answers)
    assert main(["passwd", f"{tmp_path}/passwords", "ann"]) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "a:b", "#a", " a", "a\n", "a\x1b"])
def test_passwd_refuses_a_name_that_the_file_cannot_hold(tmp_path: Path, name: str) -> None:
    assert main(["passwd", f"{tmp_path}/passwords", name]) == 64
    assert list(tmp_path.iterdir()) == []


def test_passwd_asks_twice_on_a_terminal_and_shows_nothing(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(tmp_path)
        os.execv(sys.executable, [sys.executable, "-m", "maildir_safe", "passwd", "passwords", "ann"])
    shown = b""
    for prompt in (b"Password: ", b"Again: "):
        while prompt not in shown:
            shown += os.read(terminal, 100)
        os.write(terminal, b"secret\n")
    assert os.waitpid(pid, 0)[1] == 0
    os.close(terminal)
    assert b"secret" not in shown
    assert Passwords.read(f"{tmp_path}/passwords").check("ann", "secret")


@as_root
def test_a_replaced_file_keeps_its_owner_and_a_failure_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "passwords"
    file.write_text("old")
    os.chown(file, 0, grp.getgrnam("mail").gr_gid)
    file.chmod(0o640)
    administration.replace_file(str(file), b"new")
    assert (file.stat().st_gid, stat.S_IMODE(file.stat().st_mode)) == (grp.getgrnam("mail").gr_gid, 0o640)

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        administration.replace_file(str(file), b"newer")
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


# LMTP's socket


@as_root
def test_the_sockets_mode_and_group(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        listen(f"{tmp_path}/s", 0o660, "mail").close()
    finally:
        os.umask(before)
    status = (tmp_path / "s").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o660, grp.getgrnam("mail").gr_gid)


def test_nobody_can_connect_before_the_group_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = []

    def look(*_: object) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            refused.append(client.connect_ex(f"{tmp_path}/s"))

    monkeypatch.setattr(os, "chown", look)
    listen(f"{tmp_path}/s", 0o660, str(os.getgid())).close()
    assert refused
    assert refused != [0]


def test_a_wrong_group_or_mode_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(CannotListen, match="no such group"):
        listen(f"{tmp_path}/s", None, "no such group")
    for mode in ("rw", "0o660", "7777", "-1", "668"):
        with pytest.raises(ValueError, match="octal"):
            Settings(lmtp_mode=mode).check()


@as_root
def test_serve_applies_them(tmp_path: Path) -> None:
    script = (
        "import sys; from maildir_safe._smtp.server.service import Service;"
        "from maildir_safe._smtp.server.settings import Settings;"
        "Service(Settings(maildir='M', lmtp=['./s'], lmtp_mode='0666', lmtp_group='mail'))"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o666


# many items of a queue


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    queue = Queue(tmp_path / "S")
    for sender, recipient in (("a@x.org", "1@One.org"), ("a@x.org", "2@two.org"), ("", "3@one.org")):
        queue.put(b"Subject: x\n\n", sender, [recipient])
    return queue


def states(queue: Queue) -> dict[str, str]:
    found = {}
    for listed in queue.items():
        envelope = queue.envelope(listed)
        assert envelope
        found[envelope.recipients[0][0]] = listed.state
    return dict(sorted(found.items()))


def change(queue: Queue, action: str, *words: str) -> int:
    return main(["queue", action, queue.path, *words])


@pytest.mark.parametrize(
    ("words", "held"),
    [
        (["--all"], "123"),
        (["--sender", "A@x.org"], "12"),
        (["--sender", "<>"], "3"),
        (["--sender", ""], "3"),
        (["--domain", "one.ORG"], "13"),
        (["--domain", "one.org", "--sender", "a@x.org"], "1"),
        (["--domain", "nowhere.org"], ""),
    ],
)
def test_items_are_selected_by_sender_and_domain(queue: Queue, words: list[str], held: str) -> None:
    assert change(queue, "hold", *words) == 0
    assert states(queue) == {one: "hold" if one in held else "pending" for one in "123"}
    assert change(queue, "retry", *words) == 0  # what was paused stays paused
    assert states(queue) == {one: "hold" if one in held else "pending" for one in "123"}
    assert change(queue, "unhold", *words) == 0
    assert states(queue) == dict.fromkeys("123", "pending")
    assert change(queue, "rm", *words) == 0
    assert states(queue) == {one: "pending" for one in "123" if one not in held}


def test_several_ids_and_one_that_is_wrong(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, third = [listed.item.id for listed in queue.items()]
    assert change(queue, "hold", first, "nonsense", second) == 1
    assert "nonsense: no such item" in capsys.readouterr().err
    assert sorted(states(queue).values()) == ["hold", "hold", "pending"]
    assert change(queue, "rm", first, second, third) == 0
    assert states(queue) == {}


@pytest.mark.parametrize("words", [[], ["x", "--all"], ["--all", "--sender", "a"], ["x", "--domain", "d"]])
def test_a_selection_must_be_one(queue: Queue, words: list[str]) -> None:
    assert change(queue, "rm", *words) == 64
    assert len(states(queue)) == 3


def test_what_a_worker_has_is_left_to_it_and_the_rest_is_done(
    queue: Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    (claim,) = queue.claim(1)
    assert change(queue, "rm", "--all") == 75
    assert "a worker has it" in capsys.readouterr().err
    assert list(states(queue).values()) == ["claimed"]
    claim.ack()
