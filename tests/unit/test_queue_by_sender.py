"""`work --relays`: the next server by the sender's address, by its domain, or the usual one."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from maildir_safe import DeliveryRequest, Queue, RecipientStatus, Worker
from maildir_safe._cli import main
from maildir_safe._cli.work import make_courier
from maildir_safe._queue.couriers.by_sender import SenderCourier, read_couriers
from maildir_safe._queue.couriers.smtp import UNREACHABLE
from tests.unit.test_queue_smtp import Server

TAKEN = RecipientStatus(250, "2.0.0 ok")
DOWN = RecipientStatus(451, UNREACHABLE)


class Sink:
    """A courier that notes who sent, and answers the same to all."""

    relays = True

    def __init__(self, status: RecipientStatus = TAKEN) -> None:
        self.status = status
        self.senders: list[str] = []
        self.closed = 0

    def __call__(self, request: DeliveryRequest) -> dict[str, RecipientStatus]:
        self.senders.append(request.sender)
        return dict.fromkeys(request.recipients, self.status)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(name="queue")
def _queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "spool") as queue:
        yield queue


def test_the_address_comes_before_its_domain(queue: Queue) -> None:
    of_ann, of_domain, other = Sink(), Sink(), Sink()
    courier = SenderCourier({"ann@example.com": of_ann, "@example.com": of_domain}, other)
    for sender in ("Ann@Example.COM", "bob@EXAMPLE.com", "ann@sub.example.com", "ann@example.org", ""):
        queue.put(b"Subject: x\n\nx\n", sender, ["c@d.example"])
    Worker(queue, courier).run_once()
    assert of_ann.senders == ["Ann@Example.COM"]
    assert of_domain.senders == ["bob@EXAMPLE.com"]
    assert sorted(other.senders) == ["", "ann@example.org", "ann@sub.example.com"]
    assert min(of_ann.closed, of_domain.closed, other.closed) > 0


def test_a_server_that_is_down_holds_up_only_its_senders(queue: Queue) -> None:
    """Both send to one domain, which is suspended only by the way that cannot be reached."""
    down, up = Sink(DOWN), Sink()
    worker = Worker(queue, SenderCourier({"@down.example": down}, up))
    queue.put(b"Subject: x\n\nx\n", "a@down.example", ["c@d.example"])
    worker.run_once()
    for sender in ("b@down.example", "a@up.example"):
        queue.put(b"Subject: x\n\nx\n", sender, ["c@d.example"])
    worker.run_once()
    assert down.senders == ["a@down.example"]  # the second was not tried: the destination is suspended
    assert up.senders == ["a@up.example"]


def test_each_logs_in_at_its_own_server_with_its_own_password(queue: Queue, tmp_path: Path) -> None:
    servers = [Server({}, ["250 ok"]) for _ in range(2)]
    try:
        relays = tmp_path / "relays"
        relays.write_text(f"# sender server\n\n@a.example\tlmtp://127.0.0.1:{servers[0].port}\n")
        queue.put(b"Subject: x\n\nx\n", "me@a.example", ["c@d.example"])
        queue.put(b"Subject: x\n\nx\n", "me@b.example", ["c@d.example"])
        to = f"lmtp://127.0.0.1:{servers[1].port}"
        assert main(["work", queue.path, "--once", "--to", to, "--relays", str(relays)]) == 0
        said = [[line for line in server.lines if line.startswith("MAIL")] for server in servers]
        assert [len(lines) for lines in said] == [1, 1]
        assert "me@a.example" in said[0][0]
        assert "me@b.example" in said[1][0]
    finally:
        for server in servers:
            server.close()


def test_the_password_is_in_the_file_that_the_line_names(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")
    relays = tmp_path / "relays"
    relays.write_text(f"a@b smtp://ann@mail.example {password}\nc@d smtp://ann@mail.example {password}\n")
    made: list[tuple[str, str | None]] = []

    def make(where: str, password_file: str | None) -> Sink:
        made.append((where, password_file))
        return Sink()

    couriers = read_couriers(str(relays), make)
    assert made == [("smtp://ann@mail.example", str(password))]
    assert couriers["a@b"] is couriers["c@d"]  # they share its connections
    assert make_courier(*made[0])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a@b", "line 1: a line is"),
        ("\na@b smtp://c file more", "line 2: a line is"),
        ("ab smtp://c", "neither user@domain nor @domain"),
        ("a@ smtp://c", "neither user@domain nor @domain"),
        ("a@b@c smtp://c", "neither user@domain nor @domain"),
        ("a@b smtp://c\nA@B smtp://d", "line 2: 'A@B' stands there twice"),
        ("a@b smtp://u:secret@c", "line 1: a password in a URL"),
        ("a@b maildir:/x", "line 1: 'maildir' is not the scheme of a server"),
        ("a@b http://c", "line 1: no courier begins so"),
        ("a@b smtp://u@c /does/not/exist", "/does/not/exist"),
        ("\xff", "line 1"),
    ],
)
def test_a_file_that_is_wrong_is_refused(
    queue: Queue, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, reason: str
) -> None:
    relays = tmp_path / "relays"
    relays.write_text(text)
    relays.chmod(stat.S_IRUSR)
    words = ["work", queue.path, "--once", "--to", "smtp://127.0.0.1:9", "--relays", str(relays)]
    assert main(words) == 64
    said = capsys.readouterr().err
    assert reason in said
    assert "secret" not in said


def test_it_is_for_servers(queue: Queue, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    relays = tmp_path / "relays"
    relays.write_text("a@b smtp://c\n")
    words = ["work", queue.path, "--once", "--to", f"maildir:{tmp_path}/box", "--relays", str(relays)]
    assert main(words) == 64
    assert "--to names none" in capsys.readouterr().err
    relays.unlink()
    assert main(["work", queue.path, "--once", "--to", "smtp://127.0.0.1:9", "--relays", str(relays)]) == 64
