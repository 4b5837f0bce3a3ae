"""Every row of the outcome table in handoff.py, on a simulated file system."""

from __future__ import annotations

import errno
from collections.abc import Callable
from stat import S_ISREG

import pytest

from maildir_safe._handoff.rename import DONE, GONE, NOT_DONE, UNKNOWN, Handoff, Outcome
from maildir_safe.testing.simfs import Fault, SimHost, SimServer

FAR = float("inf")
LOST = [errno.ENOENT, errno.EEXIST, errno.EIO, errno.ETIMEDOUT, errno.ESTALE]
ROWS: dict[str, set[str]] = {
    "- / yes": set(),
    "yes / -": set(),
    "- / -": set(),
    "yes / yes": set(),
    "no look": set(),
}


class Scene:
    """A host with a file ``src`` in /a, to be renamed to ``dst`` in /b."""

    def __init__(self, *faults: Fault, profile: str = "nfs4") -> None:
        self.server = SimServer(profile)
        maker = SimHost(self.server)
        for name in ("/a", "/b"):
            maker.mkdir(name)
        self.host = SimHost(self.server, faults=list(faults))
        self.a, self.b = self.host.open_dir("/a"), self.host.open_dir("/b")
        self.put(self.host, self.a, "src")

    @staticmethod
    def put(host: SimHost, directory: int, name: str, data: bytes = b"mail") -> None:
        fd = host.create(name, directory)
        host.write(fd, data)
        host.close(fd)

    def publish(self, deadline: float = FAR, replaces: bool = False) -> Outcome:
        unclear = Handoff(self.host).publish(self.a, ["src"], self.b, ["dst"], deadline, replaces)
        return unclear.get("src", Outcome(DONE, 1, None))

    def names(self) -> tuple[list[str], list[str]]:
        """The files in a and in b; a name that was sealed is a directory."""
        truth = SimHost(self.server)
        directories = [truth.open_dir(path) for path in ("/a", "/b")]
        a, b = (
            [n for n in sorted(truth.listdir(d)) if S_ISREG(truth.stat(n, d).st_mode)] for d in directories
        )
        return a, b


def test_a_plain_rename_takes_one_call() -> None:
    scene = Scene()
    outcome = scene.publish()
    assert (outcome.kind, outcome.renames) == (DONE, 1)
    assert scene.names() == ([], ["dst"])


@pytest.mark.parametrize("error", LOST)
@pytest.mark.parametrize("profile", ["local", "nfs3", "nfs4", "afs", "smb", "gluster", "vfat"])
def test_executed_but_reported_as_failed_is_done(error: int, profile: str) -> None:
    scene = Scene(Fault("rename", error, "done"), profile=profile)
    assert scene.publish().kind == DONE
    assert scene.names() == ([], ["dst"])
    ROWS["- / yes"].add(errno.errorcode[error])


@pytest.mark.parametrize("error", [errno.EIO, errno.ETIMEDOUT, errno.ESTALE, errno.EBUSY, errno.EAGAIN])
def test_not_executed_is_repeated(error: int) -> None:
    times = 2 if error == errno.ESTALE else 1  # which the kernel answers by the same call
    scene = Scene(Fault("rename", error, "none", times=times))
    outcome = scene.publish()
    assert (outcome.kind, outcome.renames) == (DONE, 2)
    assert scene.names() == ([], ["dst"])
    ROWS["yes / -"].add(errno.errorcode[error])


@pytest.mark.parametrize("error", [errno.EXDEV, errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS])
def test_a_refusal_for_good_is_withdrawn_at_once(error: int) -> None:
    scene = Scene(Fault("rename", error, "none", times=1))
    outcome = scene.publish()
    assert (outcome.kind, outcome.renames) == (NOT_DONE, 2)  # the second rename is the withdrawal
    assert outcome.error is not None
    assert outcome.error.errno == error
    assert scene.names() == ([], [])


def test_refused_for_long_is_withdrawn_and_leaves_nothing() -> None:
    scene = Scene(Fault("rename", errno.EIO, "none", times=4, match="dst"))
    assert scene.publish().kind == NOT_DONE
    assert scene.names() == ([], [])


def test_what_is_executed_after_its_error_happens_once_or_never() -> None:
    """A soft mount gives up a request that the server executes later."""
    for delay in (0.005, 0.05, 0.5, 5.0, 50.0):
        scene = Scene(Fault("rename", errno.EIO, "late", delay=delay))
        outcome = scene.publish()
        scene.host.sleep(100)
        assert outcome.kind == DONE
        assert scene.names() == ([], ["dst"])
        scene = Scene(
            Fault("rename", errno.EIO, "late", delay=delay),
            Fault("rename", errno.EIO, "none", nth=2, times=3),
        )
        outcome = scene.publish()
        scene.host.sleep(100)
        there = scene.names()[1] == ["dst"]
        assert outcome.kind == (DONE if there else NOT_DONE)


def test_moved_on_by_a_reader_is_done() -> None:
    scene = Scene(Fault("rename", errno.ENOENT, "done"))
    reader = SimHost(scene.server)
    b = reader.open_dir("/b")
    real = scene.host.rename

    def rename(src: str, dst: str, **directories: int) -> None:
        try:
            real(src, dst, **directories)
        finally:
            if "dst" in reader.listdir(b):
                reader.unlink("dst", dir_fd=b)

    scene.host.rename = rename  # type: ignore[method-assign]
    assert scene.publish().kind == DONE
    assert scene.names() == ([], [])
    ROWS["- / -"].add("moved on")


def test_source_gone_and_too_old_is_unknown() -> None:
    """A janitor may have taken it: absence proves nothing any more."""
    scene = Scene(Fault("rename", errno.ENOENT, "none", times=9))
    scene.host.unlink("src", dir_fd=scene.a)
    deadline = scene.host.boottime() + 0.0005
    outcome = scene.publish(deadline)
    assert outcome.kind == UNKNOWN
    ROWS["- / -"].add("too old")


def test_too_old_to_publish_is_not_published() -> None:
    scene = Scene()
    outcome = scene.publish(deadline=scene.host.boottime() - 1)
    assert (outcome.kind, outcome.renames) == (NOT_DONE, 1)  # only the withdrawal
    assert scene.names() == ([], [])


@pytest.mark.parametrize(("data", "kind"), [(b"mail", DONE), (b"ma", UNKNOWN)])
def test_both_there_is_decided_by_their_bytes(data: bytes, kind: str) -> None:
    """A file system that renames by copying and stops half way (s3fs)."""
    scene = Scene(Fault("rename", errno.EIO, "none", times=99))
    scene.put(scene.host, scene.b, "dst", data)
    assert scene.publish().kind == kind
    assert scene.names() == (([], ["dst"]) if kind == DONE else (["src"], ["dst"]))
    ROWS["yes / yes"].add(kind)


@pytest.mark.parametrize("error", [errno.EACCES, errno.ENOSPC, errno.EBUSY, errno.EIO])
def test_a_replacement_that_is_refused_is_withdrawn_and_the_old_file_stays(error: int) -> None:
    """SMB refuses to replace a file that somebody reads: EACCES."""
    scene = Scene(Fault("rename", error, times=9, match="-> /b/dst"))
    scene.put(scene.host, scene.b, "dst", b"old")
    started = scene.host.monotonic()
    outcome = scene.publish(replaces=True)
    assert outcome.kind == NOT_DONE
    assert scene.host.monotonic() - started < 2
    assert scene.names() == ([], ["dst"])
    assert scene.host.read(scene.host.open("dst", scene.b), 9) == b"old"


@pytest.mark.parametrize("error", LOST)
def test_a_replacement_whose_reply_was_lost_is_done(error: int) -> None:
    scene = Scene(Fault("rename", error, "done"))
    scene.put(scene.host, scene.b, "dst", b"old")
    assert scene.publish(replaces=True).kind == DONE
    assert scene.names() == ([], ["dst"])
    assert scene.host.read(scene.host.open("dst", scene.b), 9) == b"mail"


def test_when_looking_fails_the_outcome_is_unknown_and_nothing_is_touched() -> None:
    scene = Scene(
        Fault("rename", errno.EIO, "none", times=99), Fault("listdir", errno.EIO, "none", times=999)
    )
    before = scene.host.boottime()
    assert scene.publish().kind == UNKNOWN
    assert scene.host.boottime() - before >= 30  # longer than any client cache was seen to last
    assert scene.names() == (["src"], [])
    ROWS["no look"].add("EIO")


def test_looking_fails_for_a_while_only() -> None:
    scene = Scene(Fault("rename", errno.EIO, "done"), Fault("listdir", errno.ESTALE, "none", times=5))
    assert scene.publish().kind == DONE
    assert scene.names() == ([], ["dst"])
    ROWS["no look"].add("then seen")


def test_withdrawal_with_a_lost_reply_is_understood() -> None:
    scene = Scene(
        Fault("rename", errno.EXDEV, "none"), Fault("rename", errno.ENOENT, "done", nth=1, match=".wd.")
    )
    assert scene.publish().kind == NOT_DONE
    assert scene.names()[1] == []


# Claims: the source is wanted by others, the destination is the claimant's alone


def test_of_two_claimants_one_wins_and_each_knows() -> None:
    scene = Scene()
    other = SimHost(scene.server)
    other.mkdir("/c")
    a, c = other.open_dir("/a"), other.open_dir("/c")
    assert Handoff(scene.host).claim(scene.a, "src", scene.b, "src").kind == DONE
    assert Handoff(other).claim(a, "src", c, "src").kind == GONE


@pytest.mark.parametrize("error", LOST)
def test_a_claim_whose_reply_was_lost_is_known_to_be_mine(error: int) -> None:
    scene = Scene(Fault("rename", error, "done"))
    assert Handoff(scene.host).claim(scene.a, "src", scene.b, "src").kind == DONE


def test_a_claim_that_copies_is_never_taken_for_mine() -> None:
    scene = Scene(Fault("rename", errno.EIO, "none", times=99))
    scene.put(scene.host, scene.b, "src")
    assert Handoff(scene.host).claim(scene.a, "src", scene.b, "src").kind == UNKNOWN
    assert scene.names() == (["src"], ["src"])


def test_a_claim_is_not_withdrawn() -> None:
    scene = Scene(Fault("rename", errno.EACCES, "none"))
    assert Handoff(scene.host).claim(scene.a, "src", scene.b, "src").kind == NOT_DONE
    assert scene.names() == (["src"], [])


def test_every_row_was_reached(record_property: Callable[[str, object], None]) -> None:
    """Runs last in this file: the tests above wrote down which row they saw."""
    reached = [row for row, how in ROWS.items() if how]
    record_property("note", f"outcome table, simulated: {len(reached)}/{len(ROWS)} rows reached")
    assert len(reached) == len(ROWS), ROWS
