"""From an address to a Maildir: what counts as "no such mailbox", and how many stay open."""

from __future__ import annotations

import errno
import io

import pytest

from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._mailboxes import SETTLED_AFTER, Mailboxes, NoSuchMailbox
from maildir_safe._maildir.maildir import Maildir
from maildir_safe._queue.couriers.courier import DeliveryRequest
from maildir_safe._queue.couriers.maildir import MaildirCourier
from maildir_safe.errors import NotAMaildir, TemporaryError
from maildir_safe.testing.simfs import Fault, SimHost, SimServer


def candidates(address: str) -> list[str]:
    local, _, domain = address.partition("@")
    return [f"/mail/{domain}/{name}" for name in (local, local.partition("+")[0])]


@pytest.fixture
def server() -> SimServer:
    server = SimServer("nfs4")
    server.put_tree("/mail", "/mail/x.org", "/mail/x.org/postmaster")
    Maildir("/mail/x.org/bob", fs=SimHost(server, "maker"))
    server.advance(3600.0)
    return server


def mailboxes(server: SimServer, *faults: Fault, **options: int) -> tuple[SimHost, Mailboxes]:
    host = SimHost(server, "mx", faults=faults)
    return host, Mailboxes(candidates, lambda path: Maildir(path, create=False, fs=host), fs=host, **options)


def test_an_address_finds_its_mailbox_and_an_extension_the_one_without(server: SimServer) -> None:
    _, found = mailboxes(server)
    assert found.find("bob@x.org") == found.find("bob+tag@x.org") == "/mail/x.org/bob"
    assert found.known("bob@x.org") is None
    assert found.maildir_for("bob@x.org") is found.maildir_for("bob+tag@x.org")
    assert found.known("bob@x.org") == "/mail/x.org/bob"


def test_an_extension_gets_its_own_mailbox_although_the_other_is_open(server: SimServer) -> None:
    Maildir("/mail/x.org/bob+tag", fs=SimHost(server, "maker"))
    _, found = mailboxes(server)
    found.maildir_for("bob@x.org")
    assert found.known("bob+tag@x.org") is None
    assert found.find("bob+tag@x.org") == "/mail/x.org/bob+tag"


def test_nobody_is_no_such_mailbox(server: SimServer) -> None:
    _, found = mailboxes(server)
    for nobody in ("nobody@x.org", "bob@elsewhere.org"):
        with pytest.raises(NoSuchMailbox):
            found.find(nobody)


@pytest.mark.parametrize("kind", ["open_dir", "listdir", "stat", "fstat"])
@pytest.mark.parametrize("error", [errno.ENOENT, errno.EIO, errno.ESTALE, errno.EACCES])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_one_wrong_answer_refuses_no_mailbox_that_is_there(
    server: SimServer, kind: str, error: int, nth: int
) -> None:
    """It caught a 550 5.1.1 after a single ENOENT of the server."""
    faults = [Fault(kind, error, nth=nth, times=2)]  # type: ignore[arg-type]
    _, found = mailboxes(server, *faults, Fault("open_dir", errno.ENOENT, match="/bob"))
    try:
        assert found.find("bob@x.org") == "/mail/x.org/bob"
    except NoSuchMailbox:
        pytest.fail("refused for good")
    except NotAMaildir:
        pass


def test_a_directory_that_has_just_changed_proves_nothing(server: SimServer) -> None:
    """A mailbox that another host has just made is not seen everywhere at once."""
    host, found = mailboxes(server)
    with pytest.raises(NoSuchMailbox):
        found.find("nobody@x.org")
    Maildir("/mail/x.org/new", fs=SimHost(server, "elsewhere"))
    server.advance(120.0)  # this host looks at it only now
    with pytest.raises(NotAMaildir) as doubt:
        found.find("nobody@x.org")
    assert not isinstance(doubt.value, NoSuchMailbox)
    host.sleep(SETTLED_AFTER)
    with pytest.raises(NoSuchMailbox):
        found.find("nobody@x.org")


@pytest.mark.parametrize("path", ["/mail", "/mail/x.org"])
def test_an_empty_directory_may_be_a_mount_point_without_its_mount(server: SimServer, path: str) -> None:
    above, _, name = path.rpartition("/")
    maker = SimHost(server, "operator")
    maker.rename(name, "detached", src_dir_fd=maker.open_dir(above or "/"), dst_dir_fd=maker.open_dir("/"))
    server.put_tree(path)
    server.advance(3600.0)
    _, found = mailboxes(server)
    with pytest.raises(NotAMaildir) as doubt:
        found.find("bob@x.org")
    assert not isinstance(doubt.value, NoSuchMailbox)


def test_unknown_addresses_list_a_large_directory_once(server: SimServer) -> None:
    """It caught two seconds of CPU for fifty unknown recipients of a large domain."""
    _, found = mailboxes(server)
    for number in range(50):
        with pytest.raises(NoSuchMailbox):
            found.find(f"u{number}@x.org")
    listings = [call for call in server.history if call.host == "mx" and call.kind == "listdir"]
    assert len(listings) == 1


def test_no_more_maildirs_stay_open_than_asked_for(server: SimServer) -> None:
    for number in range(5):
        Maildir(f"/mail/x.org/u{number}", fs=SimHost(server, "maker"))
    _, found = mailboxes(server, kept_open=2)
    for number in range(5):
        found.maildir_for(f"u{number}@x.org")
    assert [found.known(f"u{number}@x.org") is not None for number in range(5)] == [False] * 3 + [True] * 2


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_too_many_open_files_close_what_is_kept(server: SimServer, nth: int) -> None:
    """It caught a server that refused nearly all mail for ever once its descriptors were used up."""
    Maildir("/mail/x.org/eve", fs=SimHost(server, "maker"))
    _, found = mailboxes(server, Fault("open_dir", errno.EMFILE, nth=nth, match="eve"))
    found.maildir_for("bob@x.org")
    assert found.maildir_for("eve@x.org").path == "/mail/x.org/eve"
    assert found.known("bob@x.org") is None


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_a_worker_with_too_many_open_files_closes_what_it_keeps(server: SimServer, nth: int) -> None:
    for name in ("bob", "eve"):
        Maildir(f"/mail/{name}", fs=SimHost(server, f"makes {name}"))
    host = SimHost(server, "mx", faults=[Fault("open_dir", errno.EMFILE, nth=nth, match="eve")])
    courier = MaildirCourier(
        lambda address: [f"/mail/{address}"], lambda path: Maildir(path, create=False, fs=host), host
    )
    for name in ("bob", "eve"):
        request = DeliveryRequest(name, "", (name,), lambda: io.BytesIO(b"Subject: x\n\n"), lambda: None)
        assert courier(request)[name].code == 250
        assert len([path for path in server.files() if path.startswith(f"/mail/{name}/new/")]) == 1
    assert host.plan.hits


def test_with_nothing_left_to_close_the_error_is_told(server: SimServer) -> None:
    _, found = mailboxes(server, Fault("open_dir", errno.EMFILE, times=99))
    with pytest.raises(TemporaryError):
        found.maildir_for("bob@x.org")


def test_what_a_stranger_says_is_one_line_that_steers_nothing() -> None:
    status = RecipientStatus.from_reply("550 5.1.1 no\x1b[2J\r\n.." + "x" * 5000).cleaned()
    assert status.text.startswith("5.1.1 no [2J ..xxx")
    assert status.text.isprintable()
    assert len(status.text) == 1000
    assert status.reply.startswith("550 5.1.1 ")
