"""Delivery under faults: what is acknowledged is there once, what is refused leaves nothing."""

from __future__ import annotations

import asyncio
import errno
import io
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from maildir_safe import Maildir, NotAMaildir, PartialDelivery, TemporaryError, UnknownOutcome
from maildir_safe._delivery.content import chunks
from maildir_safe.testing.simfs import PROFILES, Fault, Profile, SimHost, SimServer

MAIL = b"Subject: hello\n\nworld\n"
LOST = [errno.ENOENT, errno.EEXIST, errno.EIO, errno.ETIMEDOUT, errno.ESTALE]


class Lab:
    """A Maildir /m on a simulated server; `faults` begin after it was made and opened."""

    def __init__(self, *faults: Fault, profile: str | Profile = "nfs4", **options: object) -> None:
        self.server = SimServer(profile)
        maker = SimHost(self.server)
        Maildir("/m", fs=maker)
        maker.sleep(60)  # until other hosts see it, also on Coda
        self.host = SimHost(self.server, faults=list(faults))
        self.maildir = Maildir("/m", create=False, fs=self.host, **options)  # type: ignore[arg-type]

    def found(self) -> list[bytes]:
        """The messages as another host sees them later."""
        self.host.sleep(300)
        other = Maildir("/m", create=False, fs=SimHost(self.server))
        return [other.open(message.key).read() for message in other.messages()]

    def in_tmp(self) -> list[str]:
        truth = SimHost(self.server)
        return truth.listdir(truth.open_dir("/m/tmp"))


@pytest.mark.parametrize(
    "link_errno", [errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK]
)
def test_a_mount_that_refuses_links_is_not_even_asked(link_errno: int) -> None:
    lab = Lab(Fault("link", link_errno, times=1000))
    lab.maildir.deliver(MAIL)
    assert lab.found() == [MAIL]
    assert not any(call.kind == "link" for call in lab.server.history)


@pytest.mark.parametrize("error", LOST)
def test_a_lost_reply_is_one_copy_and_reported_as_delivered(error: int) -> None:
    lab = Lab(Fault("rename", error, "done"))
    receipt = lab.maildir.deliver(MAIL)
    assert receipt.durability == "full"
    assert lab.found() == [MAIL]
    assert [path for path in lab.server.files() if "/tmp/" in path] == []


@pytest.mark.parametrize(("error", "renames"), [(errno.EIO, 2), (errno.ETIMEDOUT, 2), (errno.ESTALE, 1)])
def test_a_rename_that_did_not_happen_is_repeated(error: int, renames: int) -> None:
    """After ESTALE by the kernel itself, which looks the directories up again."""
    lab = Lab(Fault("rename", error))
    assert lab.maildir.deliver(MAIL).renames == renames
    assert lab.found() == [MAIL]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EACCES])
def test_a_rename_that_is_refused_is_temporary_and_leaves_nothing(error: int) -> None:
    lab = Lab(Fault("rename", error))
    with pytest.raises(TemporaryError) as caught:
        lab.maildir.deliver(MAIL)
    assert not isinstance(caught.value, UnknownOutcome)
    assert (lab.found(), lab.in_tmp()) == ([], [])


@pytest.mark.parametrize("step", ["write", "fsync", "close"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_file_that_cannot_be_written_is_refused_and_leaves_nothing(step: str, error: int) -> None:
    lab = Lab(Fault(step, error, times=9))  # type: ignore[arg-type]
    with pytest.raises(TemporaryError, match=step) as caught:
        lab.maildir.deliver(MAIL)
    assert caught.value.status == ("4.3.0" if error == errno.EIO else "4.3.1")
    assert not isinstance(caught.value, UnknownOutcome)
    assert (lab.found(), lab.in_tmp()) == ([], [])


def test_a_failed_fsync_is_answered_by_a_new_file_not_by_another_fsync() -> None:
    lab = Lab(Fault("fsync", errno.EIO))
    lab.maildir.deliver(MAIL)
    synced = [call.names for call in lab.server.history if call.kind == "fsync"]
    assert len(synced) == 2
    assert synced[0] != synced[1]
    assert lab.found() == [MAIL]
    assert lab.in_tmp() == []


def test_a_draft_that_a_janitor_may_have_taken_is_written_anew() -> None:
    lab = Lab()
    real, slept = lab.host.fsync, []

    def fsync(fd: int) -> None:
        real(fd)
        if not slept:
            slept.append(lab.host.sleep(20 * 3600))  # suspended for longer than half the janitor's age

    lab.host.fsync = fsync  # type: ignore[method-assign]
    lab.maildir.deliver(MAIL)
    assert len(slept) == 1
    assert sum("/m/tmp/1" in call.names for call in lab.server.history if call.kind == "create") == 2
    assert lab.found() == [MAIL]
    assert lab.in_tmp() == []


def test_a_stream_cannot_be_written_anew() -> None:
    lab = Lab(Fault("fsync", errno.EIO))
    with pytest.raises(TemporaryError, match="fsync"):
        lab.maildir.deliver(io.BytesIO(MAIL))
    assert (lab.found(), lab.in_tmp()) == ([], [])


@pytest.mark.parametrize(("chunk", "error"), [(None, TemporaryError), ("text", TypeError)])
def test_a_stream_that_gives_no_bytes_is_not_taken_for_its_end(chunk: object, error: type[Exception]) -> None:
    """A non-blocking stream answers None when nothing has come yet."""

    class Stream:
        chunks = [b"Subject: half\n", chunk]

        def read(self, size: int) -> object:  # noqa: ARG002
            return self.chunks.pop(0) if self.chunks else b""

    lab = Lab()
    with pytest.raises(error):
        lab.maildir.deliver(Stream())  # type: ignore[arg-type]
    assert (lab.found(), lab.in_tmp()) == ([], [])


def test_a_stream_that_fails_in_words_of_its_own_is_quoted() -> None:
    class Stream:
        def read(self, size: int) -> bytes:  # noqa: ARG002
            raise OSError("cannot read from timed out object")

    with pytest.raises(TemporaryError, match="read the message: cannot read from timed out object"):
        Lab().maildir.deliver(Stream())  # type: ignore[arg-type]


def test_short_writes_are_completed() -> None:
    lab = Lab(Fault("write", 0, times=5))
    lab.maildir.deliver(MAIL)
    assert lab.found() == [MAIL]


def test_a_mount_without_directory_fsync_says_so_in_the_receipt() -> None:
    assert Lab(profile="afs").maildir.deliver(MAIL).durability == "file"


def test_a_mount_whose_fsync_promises_nothing_says_so_in_the_receipt() -> None:
    assert Lab(profile="coda").maildir.deliver(MAIL).durability == "client"
    assert Lab(profile="rclone").maildir.deliver(MAIL).durability == "client"


@pytest.mark.parametrize("profile", ["afs", "coda", "rclone"])
def test_required_durability_refuses_before_anything_is_written(profile: str) -> None:
    server = SimServer(profile)
    with pytest.raises(TemporaryError, match="required is 'full'"):
        Maildir("/m", require="full", fs=SimHost(server))


def test_a_failed_directory_fsync_is_unknown_and_the_message_stays() -> None:
    lab = Lab(Fault("fsync_dir", errno.EIO))
    with pytest.raises(UnknownOutcome) as caught:
        lab.maildir.deliver(MAIL)
    assert caught.value.path is not None
    assert caught.value.path.startswith("/m/new/")
    assert lab.found() == [MAIL]


@pytest.mark.parametrize("reader_moves_it", [False, True])
def test_after_an_unknown_outcome_the_same_id_makes_no_second_copy(reader_moves_it: bool) -> None:
    lab = Lab(Fault("fsync_dir", errno.EIO))
    with pytest.raises(UnknownOutcome):
        lab.maildir.deliver(MAIL, delivery_id="3F2A1 user@example.org")
    if reader_moves_it:
        reader = Maildir("/m", create=False, fs=SimHost(lab.server))
        for message in list(reader.messages()):
            reader.set_flags(message.key, "S")
    receipt = lab.maildir.deliver(MAIL, delivery_id="3F2A1 user@example.org")
    assert receipt.repeated
    assert lab.found() == [MAIL]


def test_an_earlier_delivery_that_cannot_be_made_durable_is_not_called_undelivered() -> None:
    lab = Lab(Fault("fsync_dir", errno.EIO, times=2))
    for _ in range(2):
        with pytest.raises(UnknownOutcome, match="perhaps not durable") as caught:
            lab.maildir.deliver(MAIL, delivery_id="q1")
        assert caught.value.path is not None
    assert lab.maildir.deliver(MAIL, delivery_id="q1").repeated
    assert lab.found() == [MAIL]


def test_another_id_is_another_message() -> None:
    lab = Lab()
    assert not lab.maildir.deliver(MAIL, delivery_id="a").repeated
    assert not lab.maildir.deliver(MAIL, delivery_id="b").repeated
    assert lab.found() == [MAIL, MAIL]


def test_tmp_and_new_on_two_file_systems_deliver_all_the_same() -> None:
    """mergerfs with tmp/ and new/ on different branches: rename gives EXDEV."""
    lab = Lab(Fault("rename", errno.EXDEV, match="/m/new/", times=1))
    receipt = lab.maildir.deliver(MAIL)
    assert receipt.durability == "full"
    assert lab.found() == [MAIL]
    assert lab.in_tmp() == []


def test_a_batch_for_two_file_systems_is_not_synced_on_the_wrong_one() -> None:
    """After EXDEV messages are written in new/: a syncfs of what holds tmp/ would not make them durable."""
    lab = Lab(Fault("rename", errno.EXDEV, match="/m/new/", times=1), profile="local")
    lab.maildir.deliver(MAIL)
    before = len(lab.server.history)
    receipts = lab.maildir.deliver_many([b"%d\n" % n for n in range(20)])
    kinds = [call.kind for call in lab.server.history[before:]]
    assert (kinds.count("syncfs"), kinds.count("fsync")) == (0, 20)
    assert {receipt.durability for receipt in receipts} == {"full"}


def test_all_of_a_batch_find_out_that_tmp_and_new_are_two_file_systems() -> None:
    lab = Lab(Fault("rename", errno.EXDEV, match="/m/new/", times=2), profile="local")
    mails = [b"1\n", b"2\n"]
    lab.maildir.deliver_many(mails)
    assert sorted(lab.found()) == mails
    assert lab.in_tmp() == []


def test_staging_in_new_shows_nothing_before_it_is_complete() -> None:
    lab = Lab(staging="new")
    lab.maildir.deliver(MAIL)
    created = [call.names for call in lab.server.history if call.kind == "create"][-1]
    assert "/m/new/." in str(created)
    assert lab.found() == [MAIL]


# Batches


def test_a_batch_on_a_local_file_system_takes_one_syncfs_and_one_directory_fsync() -> None:
    lab = Lab(profile="local")
    mails = [b"%d\n" % n for n in range(20)]
    receipts = lab.maildir.deliver_many(mails)
    kinds = [call.kind for call in lab.server.history]
    assert (kinds.count("syncfs"), kinds.count("fsync")) == (1, 0)
    assert len(receipts) == 20
    assert sorted(lab.found()) == sorted(mails)


def test_a_batch_has_few_files_open_and_if_it_is_small_the_disk_begins_before_the_syncfs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab = Lab(profile="local")
    opened, begun, most = set[int](), list[int](), 0
    create, close, syncfs = lab.host.create, lab.host.close, lab.host.syncfs

    def creates(name: str, dir_fd: int) -> int:
        nonlocal most
        opened.add(fd := create(name, dir_fd))
        most = max(most, len(opened))
        return fd

    def begins(fd: int) -> None:
        assert fd in opened
        begun.append(fd)

    def closes(fd: int) -> None:
        opened.discard(fd)
        close(fd)

    def syncs(fd: int) -> None:
        assert not opened
        syncfs(fd)

    for call in (creates, begins, closes, syncs):
        name = {"begins": "start_writing", "syncs": "syncfs"}.get(call.__name__, call.__name__[:-1])
        monkeypatch.setattr(lab.host, name, call)
    lab.maildir.deliver_many([b"%d\n" % n for n in range(100)])
    assert (most, len(begun)) == (32, 0)
    lab.maildir.deliver_many([b"%d\n" % n for n in range(30)])
    assert len(begun) == 30
    lab.maildir.deliver(MAIL)
    assert len(begun) == 30, "a single file is fsynced at once"


def test_too_many_open_files_are_tried_again_alone() -> None:
    lab = Lab(Fault("create", errno.EMFILE, nth=5, times=3), profile="local")
    mails = [b"%d\n" % n for n in range(20)]
    lab.maildir.deliver_many(mails)
    assert sorted(lab.found()) == sorted(mails)


@pytest.mark.parametrize("profile", ["local", "nfs4"])
def test_the_steps_of_a_batch_are_not_timed(profile: str) -> None:
    lab = Lab(profile=profile)
    for count in (2, 5):
        assert [one.seconds for one in lab.maildir.deliver_many([MAIL] * count)] == [{}] * count
    assert len(lab.maildir.deliver(MAIL).seconds) > 5


def test_a_message_in_memory_is_not_copied_to_be_written() -> None:
    assert b"".join(chunks(MAIL)) is MAIL


def test_an_interrupted_batch_leaves_no_file_open_and_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(profile="local")
    opened = set[int]()
    create, close, write = lab.host.create, lab.host.close, lab.host.write

    def creates(name: str, dir_fd: int) -> int:
        opened.add(fd := create(name, dir_fd))
        return fd

    def closes(fd: int) -> None:
        opened.discard(fd)
        close(fd)

    def writes(fd: int, data: bytes | memoryview) -> int:
        if data == b"7\n":
            raise KeyboardInterrupt
        return write(fd, data)

    monkeypatch.setattr(lab.host, "create", creates)
    monkeypatch.setattr(lab.host, "close", closes)
    monkeypatch.setattr(lab.host, "write", writes)
    with pytest.raises(KeyboardInterrupt):
        lab.maildir.deliver_many([b"%d\n" % n for n in range(20)])
    assert not opened
    assert lab.in_tmp() == []
    assert lab.found() == []


@pytest.mark.parametrize("profile", ["nfs3", "nfs4", "gluster", "smb", "coda"])
def test_syncfs_is_never_called_on_network_mounts(profile: str) -> None:
    lab = Lab(profile=profile)
    lab.maildir.deliver_many([b"%d\n" % n for n in range(20)])
    assert not any(call.kind == "syncfs" for call in lab.server.history)
    assert len(lab.found()) == 20


def test_a_failed_syncfs_falls_back_to_an_fsync_each() -> None:
    lab = Lab(Fault("syncfs", errno.EIO), profile="local")
    lab.maildir.deliver_many([b"%d\n" % n for n in range(20)])
    assert sum(call.kind == "fsync" for call in lab.server.history) == 20
    assert len(lab.found()) == 20
    assert lab.in_tmp() == []


def test_only_the_message_at_fault_is_refused() -> None:
    lab = Lab(Fault("write", errno.ENOSPC, nth=8), profile="local")
    mails = [b"%d\n" % n for n in range(20)]
    with pytest.raises(PartialDelivery) as caught:
        lab.maildir.deliver_many(mails)
    failed = [n for n, result in enumerate(caught.value.results) if isinstance(result, Exception)]
    assert failed == [7]
    assert sorted(lab.found()) == sorted(mails[:7] + mails[8:])
    assert lab.in_tmp() == []


def test_a_failed_directory_fsync_fails_every_sharer_as_unknown() -> None:
    lab = Lab(Fault("fsync_dir", errno.EIO), profile="local")
    with pytest.raises(PartialDelivery) as caught:
        lab.maildir.deliver_many([b"%d\n" % n for n in range(10)])
    assert all(isinstance(result, UnknownOutcome) for result in caught.value.results)
    assert len(lab.found()) == 10


def test_many_threads_and_many_coroutines_lose_and_double_nothing(tmp_path: object) -> None:
    maildir = Maildir(f"{tmp_path}/m")
    mails = [b"%d\n" % n for n in range(400)]

    def deliver(part: list[bytes]) -> None:
        for mail in part:
            maildir.deliver(mail)

    threads = [threading.Thread(target=deliver, args=(mails[n:200:20],)) for n in range(20)]
    for thread in threads:
        thread.start()

    async def gather() -> list[object]:
        return list(await asyncio.gather(*(maildir.deliver_async(mail) for mail in mails[200:])))

    receipts = asyncio.run(gather())
    for thread in threads:
        thread.join()
    assert len(receipts) == 200
    assert sorted(maildir.open(m.key).read() for m in maildir.messages()) == sorted(mails)


# The Maildir itself


@pytest.mark.parametrize("subdir", ["tmp", "new", "cur"])
def test_a_maildir_that_lacks_a_part_is_temporary_and_not_repaired(subdir: str) -> None:
    server = SimServer("nfs4")
    host = SimHost(server)
    Maildir("/m", fs=host)
    host.rmdir(subdir, host.open_dir("/m"))
    with pytest.raises(NotAMaildir, match=f"/m/{subdir}"):
        Maildir("/m", fs=SimHost(server))
    assert subdir not in host.listdir(host.open_dir("/m"))


def test_no_maildir_is_made_under_a_directory_that_is_not_there() -> None:
    with pytest.raises(NotAMaildir, match="/mnt/mail"):
        Maildir("/mnt/mail/Maildir", fs=SimHost(SimServer("local")))


def test_a_maildir_that_is_replaced_while_in_use_is_found_again() -> None:
    lab = Lab(profile="local")
    lab.maildir.deliver(b"old\n")
    admin = SimHost(lab.server)
    root = admin.open_dir("/")
    admin.rename("m", "m.old", src_dir_fd=root, dst_dir_fd=root)
    Maildir("/m", fs=admin)
    admin.sleep(6)
    lab.maildir.deliver(b"new\n")
    assert lab.found() == [b"new\n"]


def test_a_folder_that_was_removed_meanwhile_is_made_again() -> None:
    lab = Lab(profile="local")
    lab.maildir.deliver(b"1\n", folder="Lists")
    admin = SimHost(lab.server)
    root = admin.open_dir("/m")
    admin.rename(".Lists", "gone", src_dir_fd=root, dst_dir_fd=root)
    lab.host.sleep(6)
    lab.maildir.deliver(b"2\n", folder="Lists")
    assert [
        lab.maildir.folder("Lists").open(m.key).read() for m in lab.maildir.folder("Lists").messages()
    ] == [b"2\n"]


def test_a_relative_path_means_the_same_after_chdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    maildir = Maildir("box")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    maildir.close()  # as after five seconds: the directories are opened anew
    assert maildir.deliver(MAIL).path.startswith(f"{tmp_path}/box/new/")


@pytest.mark.parametrize("flags", ["S", "RS"])
def test_a_message_with_flags_goes_into_cur_by_asyncio_too(flags: str) -> None:
    lab = Lab(profile="vfat")
    receipt = asyncio.run(lab.maildir.deliver_async(MAIL, flags=flags))
    (message,) = lab.maildir.messages()
    assert (message.key, message.subdir, message.flags) == (receipt.key, "cur", flags)
    assert message.name.endswith(f";2,{flags}")


def test_smbnetfs_is_never_shown_a_colon() -> None:
    """At one such name all of the mount is EIO for three seconds."""
    smbnetfs = replace(PROFILES["vfat"], name="smbnetfs", fstype="fuse.smbnetfs")
    lab = Lab(profile=smbnetfs)
    key = lab.maildir.deliver(MAIL).key
    assert lab.maildir.set_flags(key, "S").name == f"{key};2,S"
    assert not any(":" in call.names for call in lab.server.history)


@pytest.mark.parametrize("subdirs", [["new"], ["tmp"], ["tmp", "new", "cur"]])
def test_directories_that_are_removed_and_made_again_are_found_again(
    tmp_path: Path, subdirs: list[str]
) -> None:
    maildir = Maildir(tmp_path / "m")
    maildir.deliver(b"old\n")
    for subdir in subdirs:
        shutil.rmtree(tmp_path / "m" / subdir)
        (tmp_path / "m" / subdir).mkdir()
    maildir.deliver(MAIL)
    assert MAIL in [maildir.open(message.key).read() for message in maildir.messages()]
    assert not list((tmp_path / "m" / "tmp").iterdir())
