"""Root in a directory that a user owns: no link is followed, mail is the user's."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maildir_safe import Maildir, NotAMaildir, Queue
from maildir_safe._fs.owner import as_owner, owner_of, refuse_as_root
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._handoff.removing import remove_tree
from maildir_safe._mailboxes import open_as_owner
from maildir_safe._queue.couriers import maildir as maildir_courier
from maildir_safe._queue.couriers.courier import DeliveryRequest
from maildir_safe._queue.couriers.maildir import MaildirCourier

ALICE, BOB = 31001, 31002
MAIL = b"Subject: hello\n\nworld\n"
OLD = time.time() - 40 * 3600

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it is about what root must not do")


@pytest.fixture
def home() -> Iterator[Path]:
    """Alice's home, in which she may do as she likes; pytest's own directory is root's alone."""
    top = Path(tempfile.mkdtemp(prefix="maildir-safe-owner-"))
    top.chmod(0o755)
    home = top / "alice"
    home.mkdir()
    os.chown(home, ALICE, ALICE)
    yield home
    shutil.rmtree(top)


def make_maildir(path: Path, uid: int) -> Path:
    for directory in (path, *(path / name for name in ("tmp", "new", "cur"))):
        directory.mkdir()
        os.chown(directory, uid, uid)
    return path


def victim(top: Path) -> Path:
    """A directory of root's with an old file, as /etc is."""
    etc = top / "etc"
    etc.mkdir()
    (etc / "passwd").write_text("root")
    os.utime(etc / "passwd", (OLD, OLD))
    return etc


def run(*words: str, message: bytes = MAIL) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "maildir_safe", *words]
    return subprocess.run(command, input=message, capture_output=True, check=False)


# Nobody's links, whoever runs it


@pytest.mark.parametrize("name", ["tmp", "new", "cur"])
def test_a_link_below_a_maildir_is_not_followed(name: str, tmp_path: Path) -> None:
    box, elsewhere = tmp_path / "m", tmp_path / "elsewhere"
    Maildir(box)
    elsewhere.mkdir()
    (box / name).rmdir()
    (box / name).symlink_to(elsewhere)
    with pytest.raises(NotAMaildir, match="symbolic link"):
        Maildir(box, create=False)


def test_a_folder_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    box, elsewhere = Maildir(tmp_path / "m"), tmp_path / "elsewhere"
    Maildir(elsewhere)
    (tmp_path / "m" / ".Sent").symlink_to(elsewhere)
    with pytest.raises(NotAMaildir):
        box.folder("Sent", create=False)


def test_a_maildir_that_is_reached_by_a_link_is_used(tmp_path: Path) -> None:
    Maildir(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    Maildir(tmp_path / "link").deliver(MAIL)
    assert len(list((tmp_path / "real" / "new").iterdir())) == 1


def test_clean_does_not_leave_the_maildir(tmp_path: Path) -> None:
    """As an attacker would: ``ln -s /etc ~/Maildir/tmp``."""
    etc, box = victim(tmp_path), tmp_path / "m"
    Maildir(box)
    (box / "tmp").rmdir()
    (box / "tmp").symlink_to(etc)
    assert run("clean", str(box)).returncode != 0
    assert run("fsck", "--fix", str(box)).returncode != 0
    assert (etc / "passwd").exists()


# Removing trees


def test_a_tree_is_removed_without_following_links(tmp_path: Path) -> None:
    etc, top = victim(tmp_path), tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "file").touch()
    (top / "a" / "b" / "link").symlink_to(etc)
    fs = OsFileSystem()
    above = fs.open_dir(str(tmp_path))
    remove_tree(fs, "top", above)
    fs.close(above)
    assert not top.exists()
    assert (etc / "passwd").exists()


def test_a_link_is_no_tree(tmp_path: Path) -> None:
    etc = victim(tmp_path)
    (tmp_path / "top").symlink_to(etc)
    fs = OsFileSystem()
    above = fs.open_dir(str(tmp_path))
    with pytest.raises(NotADirectoryError):
        remove_tree(fs, "top", above)
    fs.close(above)
    assert (etc / "passwd").exists()


def test_what_is_put_in_the_place_of_a_tree_meanwhile_stays(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()

    class Exchanged(OsFileSystem):
        def listdir(self, dir_fd: int) -> list[str]:
            names = super().listdir(dir_fd)
            (tmp_path / "top").rename(tmp_path / "away")
            (tmp_path / "top").mkdir()
            return names

    fs = Exchanged()
    above = fs.open_dir(str(tmp_path))
    with pytest.raises(OSError, match="exchanged"):
        remove_tree(fs, "top", above)
    fs.close(above)
    assert (tmp_path / "top").exists()


def test_a_tree_that_is_too_deep_is_left(tmp_path: Path) -> None:
    (tmp_path / "/".join("abcde")).mkdir(parents=True)
    fs = OsFileSystem()
    above = fs.open_dir(str(tmp_path))
    with pytest.raises(OSError, match="not removed"):
        remove_tree(fs, "a", above, deepest=3)
    fs.close(above)
    assert (tmp_path / "a" / "b").exists()


# Root


@as_root
def test_root_does_not_enter_another_users_directory_in_a_users(home: Path) -> None:
    """Alice has moved a directory of Bob's, in which she may write, into her Maildir."""
    box = make_maildir(home / "m", ALICE)
    os.chown(box / "tmp", BOB, BOB)
    with pytest.raises(NotAMaildir, match="uid 31002"):
        Maildir(box, create=False)
    os.chown(box / "tmp", 0, 0)
    Maildir(box, create=False)


@as_root
def test_deliver_becomes_the_owner_and_the_mail_is_theirs(home: Path) -> None:
    box = make_maildir(home / "m", ALICE)
    assert run("deliver", str(box)).returncode == 0
    [mail] = (box / "new").iterdir()
    about = mail.stat()
    assert (about.st_uid, about.st_gid, about.st_mode & 0o777) == (ALICE, ALICE, 0o600)


@as_root
def test_deliver_makes_a_maildir_that_is_the_owners(home: Path) -> None:
    assert run("deliver", str(home / "new")).returncode == 0
    assert {path.stat().st_uid for path in (home / "new").rglob("*")} == {ALICE}
    assert run("deliver", "-m", "Sent", str(home / "new")).returncode == 0
    assert {path.stat().st_uid for path in (home / "new").rglob("*")} == {ALICE}


@as_root
@pytest.mark.parametrize("way", ["link to root's", "link to bob's", "root's in alice's"])
def test_whoever_can_lead_root_elsewhere_is_refused(way: str, home: Path) -> None:
    target, path = home.parent / "target", home / "m"
    if way == "root's in alice's":
        make_maildir(path, 0)
    else:
        make_maildir(target, 0 if "root" in way else BOB)
        path.symlink_to(target)
        os.chown(path, ALICE, ALICE, follow_symlinks=False)
    done = run("deliver", str(path))
    assert done.returncode == 75
    assert b"can lead root elsewhere" in done.stderr
    with pytest.raises(NotAMaildir, match="can lead root elsewhere"):
        open_as_owner(str(path))
    assert list(home.parent.rglob("*/new/*")) == []


@as_root
def test_a_link_of_the_administrators_is_followed(home: Path) -> None:
    box = make_maildir(home / "m", ALICE)
    (home.parent / "box").symlink_to(box)
    assert run("deliver", str(home.parent / "box")).returncode == 0
    assert owner_of(str(home.parent / "box")) == (ALICE, ALICE)


@as_root
def test_many_mailboxes_of_one_process_each_as_its_owner(home: Path) -> None:
    """Threads at the same time: each call is made as its Maildir's owner, and the others' are not."""
    boxes = {uid: make_maildir(home.parent / str(uid), uid) for uid in (ALICE, BOB)}
    maildirs = {uid: open_as_owner(str(path)) for uid, path in boxes.items()}

    def deliver(uid: int) -> None:
        for _ in range(20):
            maildirs[uid].deliver(MAIL)

    threads = [threading.Thread(target=deliver, args=(uid,)) for uid in (ALICE, BOB) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for uid, path in boxes.items():
        mails = list((path / "new").iterdir())
        assert len(mails) == 40
        assert {(mail.stat().st_uid, mail.stat().st_gid) for mail in mails} == {(uid, uid)}
    probe = home.parent / "roots"
    probe.touch()
    assert probe.stat().st_uid == 0


@as_root
def test_as_the_owner_no_more_is_allowed_than_to_the_owner(home: Path) -> None:
    secret = home.parent / "secret"
    secret.mkdir(mode=0o700)
    fs = as_owner(OsFileSystem(), str(home))
    for call in (lambda: fs.open_dir(str(secret)), lambda: fs.mkdir(str(secret / "x"))):
        with pytest.raises(PermissionError):
            call()
    os.close(OsFileSystem().open_dir(str(secret)))


@as_root
def test_the_owner_has_none_of_roots_groups(home: Path) -> None:
    """Of a login, root is in group 0: a link of the user's must not make a file readable that is for it."""
    script = (
        "import os, sys\n"
        "from maildir_safe._fs.owner import as_owner\n"
        "from maildir_safe._fs.posix import OsFileSystem\n"
        "os.setgroups([0, 4])\n"
        "fs = as_owner(OsFileSystem(), sys.argv[1])\n"
        "try:\n"
        "    fs.close(fs.open_dir(sys.argv[2]))\n"
        "except PermissionError:\n"
        "    print('refused', os.getgroups())\n"
    )
    secret = home.parent / "secret"
    secret.mkdir(mode=0o750)
    done = subprocess.run([sys.executable, "-c", script, home, secret], capture_output=True, check=True)
    assert done.stdout == b"refused [0, 4]\n"


@as_root
def test_a_worker_delivers_as_the_owner_out_of_roots_spool(home: Path) -> None:
    box = make_maildir(home / "m", ALICE)
    queue = Queue(home.parent / "spool", shared=False, heartbeat=False)
    queue.put(MAIL, "a@x.org", ["alice@x.org"])
    [claim] = queue.claim(1)
    claim.ack_into(open_as_owner(str(box)))
    [mail] = (box / "new").iterdir()
    assert (mail.stat().st_uid, mail.read_bytes().endswith(MAIL)) == (ALICE, True)
    assert queue.claim(1) == []
    queue.close()


@as_root
@pytest.mark.parametrize(
    "words",
    [
        ["queue", "put", "SPOOL", "bob@x.org"],
        ["queue", "ls", "SPOOL"],
        ["queue", "rm", "--all", "SPOOL"],
        ["work", "--once", "--to", "maildir:/nowhere", "SPOOL"],
        ["serve", "--queue", "SPOOL", "--smtp", "127.0.0.1:0"],
        ["serve", "SPOOL", "--smtp", "127.0.0.1:0", "--web", ""],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_root_makes_and_uses_no_store_through_a_users_link(words: list[str], home: Path) -> None:
    etc = home.parent / "etc"
    etc.mkdir(mode=0o700)
    (home / "s").symlink_to(etc)
    os.chown(home / "s", ALICE, ALICE, follow_symlinks=False)
    done = run(*(str(home / "s") if word == "SPOOL" else word for word in words))
    assert done.returncode != 0
    assert b"can lead root elsewhere" in done.stderr
    assert list(etc.iterdir()) == []


@as_root
def test_root_works_on_a_users_spool_as_that_user(home: Path) -> None:
    """Out of it root delivers into another user's Maildir, as that user, by a copy."""
    spool, box = home / "spool", make_maildir(home.parent / "bob", BOB)
    assert run("queue", "put", str(spool), "bob@x.org").returncode == 0
    assert {path.stat().st_uid for path in (spool, *spool.rglob("*"))} == {ALICE}
    assert run("work", "--once", "--to", f"maildir:{box}", str(spool)).returncode == 0
    [mail] = (box / "new").iterdir()
    assert mail.stat().st_uid == BOB
    assert not [path for path in spool.rglob("*.vm*") if path.is_file()]


@as_root
def test_a_spool_and_a_maildir_of_one_user_need_one_rename(home: Path) -> None:
    box = make_maildir(home / "m", ALICE)
    queue = Queue(home / "spool", shared=False, heartbeat=False)
    queue.put(MAIL, "a@x.org", ["alice@x.org"])
    [claim] = queue.claim(1)
    [item] = (home / "spool" / "claimed").glob("*/*")
    inode = item.stat().st_ino
    claim.ack_into(open_as_owner(str(box)))
    queue.close()
    [mail] = (box / "new").iterdir()
    assert (mail.stat().st_uid, mail.stat().st_ino) == (ALICE, inode)


@as_root
@pytest.mark.parametrize("check", [refuse_as_root])
def test_a_tool_refuses_root_on_anothers_directory(check: Callable[[str], None], home: Path) -> None:
    with pytest.raises(PermissionError, match="uid 31001"):
        check(str(home))
    check("/")


def test_a_couriers_way_to_open_is_as_the_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Maildir(tmp_path / "m")
    opened: list[str] = []

    def as_the_owner(path: str, staging: str | None = None) -> Maildir:
        opened.append(path)
        return open_as_owner(path, staging=staging)

    monkeypatch.setattr(maildir_courier, "open_as_owner", as_the_owner)
    courier = MaildirCourier(lambda _: [box.path])
    request = DeliveryRequest("i", "", ("a@b",), lambda: io.BytesIO(b"Subject: x\n\n"), lambda: None)
    assert courier(request)["a@b"].code == 250
    assert opened == [box.path]
    assert owner_of(str(tmp_path)) is None


@as_root
@pytest.mark.parametrize("words", [["probe"], ["torture", "--minutes", "0.01"], ["bench", "--quick"]])
def test_tools_that_make_and_remove_files_refuse_to_be_root_in_a_users_directory(
    words: list[str], home: Path
) -> None:
    before = sorted(path.name for path in home.iterdir())
    done = run(*words, str(home))
    assert done.returncode == 75
    assert f"it belongs to uid {ALICE}: run this as that user".encode() in done.stderr
    assert sorted(path.name for path in home.iterdir()) == before
    told = run(words[0], "--help").stdout.decode()
    assert "--as-root" in told


@as_root
def test_a_tool_that_was_told_so_works_as_root_in_a_users_directory(home: Path) -> None:
    assert run("probe", "--as-root", str(home)).returncode == 0


@as_root
def test_fsck_and_clean_look_as_the_owner(home: Path) -> None:
    """What the owner may not read, root does not read for the owner; what the owner may, is mended."""
    box = make_maildir(home / "Maildir", ALICE)
    stray = box / "tmp" / "1763000000.M1P2Q3.host"
    stray.write_text("x")
    os.chown(stray, ALICE, ALICE)
    os.utime(stray, (OLD, OLD))
    assert run("fsck", "--fix", str(box)).returncode == 0
    assert not stray.exists()
    (box / "new").rmdir()
    (box / "new").symlink_to(victim(home.parent))
    assert run("fsck", "--fix", str(box)).returncode == 75
    assert run("clean", str(box)).returncode == 75
    assert (home.parent / "etc" / "passwd").exists()


@as_root
@pytest.mark.parametrize("way", ["a link to root's file", "a link to nothing", "a link of the way"])
@pytest.mark.parametrize("words", [["passwd", "FILE", "bob"], ["bench", "--quick", "--json", "FILE", "TOP"]])
def test_root_writes_no_file_through_a_users_link(words: list[str], way: str, home: Path) -> None:
    etc, file = victim(home.parent), home / "file"
    if way == "a link of the way":
        file.symlink_to(etc)
        file = file / "passwd"
    else:
        file.symlink_to(etc / ("passwd" if "root" in way else "made"))
    os.chown(home / "file", ALICE, ALICE, follow_symlinks=False)
    replaced = {"FILE": str(file), "TOP": str(home.parent)}
    done = run(*(replaced.get(word, word) for word in words), message=b"a\na\n")
    assert done.returncode == 75
    assert b"can lead root elsewhere" in done.stderr
    assert [(path.name, path.read_text()) for path in etc.iterdir()] == [("passwd", "root")]


@as_root
def test_root_makes_no_maildir_behind_a_users_link(home: Path) -> None:
    etc = victim(home.parent)
    (home / "way").symlink_to(etc)
    os.chown(home / "way", ALICE, ALICE, follow_symlinks=False)
    assert run("create", str(home / "way" / "m")).returncode == 75
    assert [path.name for path in etc.iterdir()] == ["passwd"]
