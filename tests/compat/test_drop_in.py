"""What the drop-in promises beyond CPython's tests (those are in test_cpython_mailbox.py)."""

from __future__ import annotations

import email
import email.message
import errno
import io
import mailbox
import os
import pickle
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maildir_safe import NotAMaildir, TemporaryError, UnknownOutcome, mailbox as drop_in
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._maildir import maildir
from maildir_safe.mailbox import Maildir

MAIL = b"Subject: hello\n\nworld\n"
LATER = b"Subject: hello again\n\nworld\n"


class Watched:
    """The file system, its calls noted, and those refused that are asked for."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.refuse: dict[str, OSError] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **where: Any) -> Any:
            self.calls.append(name)
            if name in self.refuse:
                raise self.refuse[name]
            return getattr(OsFileSystem(), name)(*args, **where)

        return call


@pytest.fixture
def fs(monkeypatch: pytest.MonkeyPatch) -> Watched:
    watched = Watched()
    monkeypatch.setattr(drop_in, "OsFileSystem", lambda: watched)
    return watched


@pytest.fixture
def box(tmp_path: Path) -> Maildir:
    return Maildir(tmp_path / "box")


def names(box: Maildir) -> list[str]:
    """Everything in it, tmp/ too."""
    return sorted(
        f"{sub}/{name}" for sub in ("tmp", "new", "cur") for name in os.listdir(f"{box._path}/{sub}")
    )


def test_is_one_of_theirs(box: Maildir) -> None:
    assert isinstance(box, mailbox.Maildir)
    assert isinstance(box.add_folder("a"), Maildir)
    box.add(MAIL)
    assert [type(message) for message in box] == [mailbox.MaildirMessage]


def test_a_subclass_with_a_factory_and_a_colon(tmp_path: Path) -> None:
    class Exclaiming(Maildir):
        colon = "!"

    box = Exclaiming(tmp_path / "box", factory=email.message_from_binary_file)
    key = box.add(MAIL)
    box.set_flags(key, "S")
    assert names(box) == [f"new/{key}!2,S"]
    assert box[key]["Subject"] == "hello"
    assert type(box[key]) is email.message.Message
    assert box.get_flags(key) == "S"


def test_is_durable_before_it_returns_and_never_links(fs: Watched, tmp_path: Path) -> None:
    box = Maildir(tmp_path / "box")
    fs.calls.clear()
    key = box.add(MAIL)
    steps = [call for call in fs.calls if call in ("write", "fsync", "close", "rename", "link")]
    assert steps == ["write", "fsync", "close", "rename", "fsync"]
    fs.calls.clear()
    box.set_flags(key, "S")
    assert fs.calls[-3:] == ["rename", "stat", "fsync"]  # the look-up: was it another name of the same file?


@pytest.mark.parametrize("step", ["create", "write", "fsync"])
def test_what_is_refused_leaves_nothing(fs: Watched, step: str, tmp_path: Path) -> None:
    box = Maildir(tmp_path / "box")
    key = box.add(MAIL)
    fs.refuse = {step: OSError(errno.ENOSPC, "no space")}
    with pytest.raises(TemporaryError) as refused:
        box.add(LATER)
    assert refused.value.status == "4.3.1"
    with pytest.raises(TemporaryError):
        box[key] = LATER
    fs.refuse = {}
    assert names(box) == [f"new/{key}"]
    assert box.get_bytes(key) == MAIL


def test_the_date_of_a_message_is_kept(box: Maildir) -> None:
    message = mailbox.MaildirMessage(MAIL)
    message.set_date(1_000_000_000.5)
    key = box.add(message)
    assert box[key].get_date() == 1_000_000_000.5
    box[key] = message
    assert box[key].get_date() == 1_000_000_000.5


def test_a_mount_that_refuses_colons(fs: Watched, tmp_path: Path) -> None:
    create = fs.create

    def picky(name: str, dir_fd: int) -> int:
        if ":" in name:
            raise OSError(errno.EINVAL, "invalid argument")
        return create(name, dir_fd)  # type: ignore[no-any-return]

    fs.create = picky  # type: ignore[method-assign]
    box = Maildir(tmp_path / "box")
    key = box.add(MAIL)
    box.add_flag(key, "SF")
    assert box.colon == ";"
    assert names(box) == [f"new/{key};2,FS"]
    assert Maildir(tmp_path / "box").get_flags(key) == "FS"  # read by one that does not know yet


def test_replacing_is_seen_as_one_step(box: Maildir) -> None:
    """Another reader sees the old message or the new one, never both and never none."""
    key = box.add(MAIL)
    other = Maildir(box._path)
    seen: list[object] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.append((len(os.listdir(f"{box._path}/new")), other.get_bytes(key)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(50):
        box[key] = LATER
        box[key] = MAIL
    done.set()
    watcher.join()
    assert set(seen) <= {(1, MAIL), (1, LATER)}
    assert seen


def test_a_replacement_that_is_refused_leaves_the_old_message(
    fs: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on SMB while somebody reads it; it is told at once, and as not done."""
    box = Maildir(tmp_path / "box")
    key = box.add(MAIL)
    aside = OsFileSystem().rename

    def rename(src: str, dst: str, **directories: int) -> None:
        if not dst.startswith(".wd."):
            raise PermissionError(errno.EACCES, "open elsewhere")
        aside(src, dst, **directories)

    monkeypatch.setattr(fs, "rename", rename, raising=False)
    with pytest.raises(TemporaryError) as caught:
        box[key] = LATER
    assert not isinstance(caught.value, UnknownOutcome)
    assert names(box) == [f"new/{key}"]
    assert box.get_bytes(key) == MAIL


@pytest.mark.parametrize("step", ["open", "stat"])
def test_a_stale_handle_is_opened_anew(step: str, fs: Watched, tmp_path: Path) -> None:
    """Another NFS client removed and remade what this one had open."""
    box = Maildir(tmp_path / "box")
    key = box.add(MAIL)
    assert box.get_bytes(key) == MAIL

    def once(*_: Any) -> Any:
        delattr(fs, step)
        raise OSError(errno.ESTALE, "stale")

    setattr(fs, step, once)
    assert box.get_bytes(key) == MAIL


def test_a_message_that_another_moves_is_followed(box: Maildir) -> None:
    key = box.add(MAIL)
    assert key in box
    os.rename(f"{box._path}/new/{key}", f"{box._path}/cur/{key}:2,S")
    assert box.get_bytes(key) == MAIL
    assert box.get_flags(key) == "S"
    os.rename(f"{box._path}/cur/{key}:2,S", f"{box._path}/cur/{key}:2,RS")
    box.add_flag(key, "T")
    assert names(box) == [f"cur/{key}:2,RST"]
    os.rename(f"{box._path}/cur/{key}:2,RST", f"{box._path}/cur/{key}:2,")
    box.remove(key)
    assert names(box) == []


def test_both_readers_agree(box: Maildir) -> None:
    """What one of our two Maildirs does, the other sees."""
    ours = maildir.Maildir(box._path)
    key = ours.deliver(MAIL, flags="F").key
    assert box.get_flags(key) == "F"
    box.add_flag(key, "S")
    assert [(message.key, message.flags) for message in ours.messages()] == [(key, "FS")]


def test_an_info_cannot_leave_the_directory(box: Maildir) -> None:
    key = box.add(MAIL)
    with pytest.raises(ValueError, match="no slash"):
        box.set_info(key, "2,S/../../../x")
    with pytest.raises(ValueError, match="no NUL"):
        box.set_info(key, "2,S\0x")
    assert names(box) == [f"new/{key}"]


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(mailbox.NoSuchMailboxError):
        Maildir(tmp_path / "none", create=False)
    with pytest.raises(mailbox.NoSuchMailboxError):
        Maildir(tmp_path / "box").get_folder("none")
    with pytest.raises(NotAMaildir):
        Maildir(tmp_path / "none" / "box")
    (tmp_path / "a file").write_text("x")
    with pytest.raises(NotAMaildir):
        Maildir(tmp_path / "a file")


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("there", [[], [".a/tmp", ".notmuch"], ["tmp", "cur"], ["notes.txt", ".a/new"]])
def test_what_the_original_opens_is_opened_and_nothing_is_made_in_it(
    create: bool, there: list[str], tmp_path: Path
) -> None:
    """A root of folders, of Verbatim trees, of notmuch; and a Maildir in conflict."""
    for name in there:
        (tmp_path / "root" / name).mkdir(parents=True)
    if not there:
        (tmp_path / "root").mkdir()
        (tmp_path / "root" / ".hidden").touch()
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    box = Maildir(tmp_path / "root", create=create)
    assert sorted(box.list_folders()) == sorted(
        mailbox.Maildir(tmp_path / "root", create=False).list_folders()
    )
    for call in (box.keys, lambda: list(box), lambda: box.add(MAIL), lambda: box["key"], box.clean):
        with pytest.raises(NotAMaildir):
            call()
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_folders_of_a_root_that_is_no_maildir(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "README").touch()
    root = Maildir(tmp_path / "root", create=False)
    key = root.add_folder("a").add(MAIL)
    assert root.list_folders() == ["a"]
    assert root.get_folder("a").get_bytes(key) == MAIL
    root.get_folder("a").clear()
    root.remove_folder("a")
    assert os.listdir(tmp_path / "root") == ["README"]
    with pytest.raises(mailbox.NoSuchMailboxError):
        root.get_folder("a")


@pytest.mark.parametrize("name", mailbox.__all__)
def test_every_name_of_the_original_is_there(name: str) -> None:
    """`from maildir_safe.mailbox import Maildir, MaildirMessage, mbox`: one import is to be changed."""
    assert name in drop_in.__all__
    if name != "Maildir":
        assert getattr(drop_in, name) is getattr(mailbox, name)


@pytest.mark.parametrize("kind", ["directory", "fifo", "link", "socket"])
@pytest.mark.parametrize("name", ["1.a", "1700000000.M1P1Q1Rdeadbeef.host,S=5:2,S", "notes"])
def test_what_only_looks_like_a_message_is_skipped(kind: str, name: str, box: Maildir) -> None:
    key = box.add(MAIL)
    path = Path(box._path, "cur", name)
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    else:
        os.mknod(path, stat.S_IFSOCK)
    before = set(os.listdir("/proc/self/fd"))
    assert [bytes(message) for message in box] == [bytes(mailbox.MaildirMessage(MAIL))]
    assert [name for name, _ in box.items()] == [key]
    stray = name.partition(":")[0]
    for call in (box.get_bytes, box.get_file, box.__getitem__):
        with pytest.raises(KeyError):
            call(stray)
    assert set(os.listdir("/proc/self/fd")) == before
    ours = maildir.Maildir(box._path)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyError):
        ours.open(stray)
    assert [message.key for message in ours.messages()] == [key]
    assert ours.discard(stray) is False
    assert set(os.listdir("/proc/self/fd")) == before
    assert os.path.lexists(path)


def test_a_read_that_ends_early_is_no_message(box: Maildir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount may answer a read with EAGAIN, or with less than the file has."""
    key = box.add(MAIL)

    class Early(io.FileIO):
        def __init__(self, fd: int, *parts: bytes | None) -> None:
            super().__init__(fd)
            self.parts = list(parts)

        def readinto(self, buffer: Any) -> int | None:  # type: ignore[override]
            part = self.parts.pop(0) if self.parts else b""
            if part is None:
                return None
            buffer[: len(part)] = part
            return len(part)

    def reads(*parts: bytes | None) -> None:
        monkeypatch.setattr(OsFileSystem, "reader", lambda _, fd: io.BufferedReader(Early(fd, *parts)))

    for parts in ([None], [MAIL[:5], None], [MAIL[:5]], []):
        for call in (box.get_bytes, box.__getitem__):
            reads(*parts)
            with pytest.raises(TemporaryError, match=r"^read .*(EIO|EAGAIN)"):
                call(key)
        for read in ("read", "readlines"):
            reads(*parts)
            with maildir.Maildir(box._path).open(key) as file, pytest.raises(OSError, match="could be read"):
                getattr(file, read)()
    reads(MAIL[:5], MAIL[5:])
    assert box.get_bytes(key) == MAIL
    reads(MAIL[:5], MAIL[5:])
    with maildir.Maildir(box._path).open(key) as file:
        assert file.readline() + file.read() == MAIL
        assert (file.tell(), file.seek(0, 2)) == (len(MAIL), len(MAIL))


def test_a_folder_that_is_being_delivered_to_is_not_removed(box: Maildir) -> None:
    folder = box.add_folder("a")
    arriving = Path(folder._path, "tmp", "1.x")
    arriving.write_bytes(MAIL)
    with pytest.raises(mailbox.NotEmptyError):
        box.remove_folder("a")
    arriving.rename(f"{folder._path}/new/1.x")
    with pytest.raises(mailbox.NotEmptyError):
        box.remove_folder("a")
    assert folder.get_bytes("1.x") == MAIL
    folder.clear()
    box.remove_folder("a")
    assert box.list_folders() == []
    assert sorted(os.listdir(box._path)) == ["cur", "new", "tmp"]


def test_folder_names_as_they_are(box: Maildir) -> None:
    box.add_folder("Entwürfe").add(MAIL)
    assert os.path.isdir(f"{box._path}/.Entwürfe/new")
    assert box.list_folders() == mailbox.Maildir(box._path).list_folders() == ["Entwürfe"]


def test_threads_add_at_once(box: Maildir) -> None:
    keys: list[str] = []
    threads = [
        threading.Thread(target=lambda: keys.extend(box.add(MAIL) for _ in range(20))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys)) == 160
    assert sorted(box.keys()) == sorted(keys)
    assert {box.get_bytes(key) for key in keys} == {MAIL}


@pytest.mark.parametrize("kind", [Maildir, maildir.Maildir])
def test_descriptors_are_given_back_at_once(kind: type[Any], tmp_path: Path) -> None:
    """With the last reference, or by close(): a mount could be taken down."""
    before = set(os.listdir("/proc/self/fd"))
    box = kind(tmp_path / "box")
    assert len(box.keys() if kind is Maildir else [*box.messages()]) == 0
    assert len(os.listdir("/proc/self/fd")) > len(before)
    box.close()
    assert set(os.listdir("/proc/self/fd")) == before
    maildir.Maildir(tmp_path / "box").deliver(MAIL, flags="S")
    Maildir(tmp_path / "box").add(MAIL)
    assert set(os.listdir("/proc/self/fd")) == before


def test_goes_to_another_process(box: Maildir) -> None:
    key = box.add(MAIL)
    assert box.keys() == [key]
    there = pickle.loads(pickle.dumps(box))
    assert there.get_bytes(key) == MAIL
    assert there.keys() == [key]
