"""Who uses the mount during a soak: every way in, a reader, and workers of the queue.

A role is a function that does one piece of work, called over and over by a thread of its own until the
soak ends. It enters what it was told into the ledger. An exception that no promise speaks of is a complaint.
"""

from __future__ import annotations

import contextlib
import mailbox
import os
import random
import signal
import smtplib
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from soak_ledger import ACK, PERMANENT, REFUSED, UNKNOWN, SoakLedger, message

from maildir_safe import Maildir, Queue
from maildir_safe.errors import LeaseLost, PermanentError, TemporaryError, UnknownOutcome
from maildir_safe.mailbox import Maildir as DropIn

PER_MAILDIR = 150  # a delivery with an id lists new/ and cur/
TRIES = 40
Role = Callable[[], None]
_COMPLETE = b"From: s@example.org\nDate: Mon, 30 Nov 2026 12:00:00 +0000\nMessage-ID: <m@example.org>\n"
"""What sendmail would add after the other headers; a message that has it is stored as it is."""


class Roles:
    """The roles, over one mount.

    Args:
        mount: the mount point.
        ledger: what was promised.
        stopping: set when the faults have ended: what was begun is finished, nothing new begun.
        config: the file that tells sendmail of the spool.
    """

    def __init__(
        self, mount: Path, ledger: SoakLedger, stopping: threading.Event, seed: int, config: Path
    ) -> None:
        self.mount = mount
        self.ledger = ledger
        self.stopping = stopping
        self.chance = random.Random(seed)
        self.queue = Queue(mount / "spool", lease=30)
        self.target = Maildir(mount / "queued")
        self._boxes: dict[str, tuple[int, Maildir]] = {}
        self.drop_in = DropIn(mount / "dropin")
        config.write_text(f'spool = "{mount}/spool"\n')
        self._environment = {**os.environ, "MAILDIR_SAFE_SENDMAIL_CONFIG": str(config)}

    def _until_taken(self, token: str, one_try: Callable[[], str | None]) -> None:
        """Try until it is taken; None from a try: acknowledged, else why not."""
        for _ in range(TRIES):
            try:
                one_try()
                self.ledger.answer(token, ACK)
                return
            except UnknownOutcome as error:
                self.ledger.answer(token, UNKNOWN, error)
            except TemporaryError as error:
                self.ledger.answer(token, REFUSED, error)
            except PermanentError as error:
                self.ledger.answer(token, PERMANENT, error)
                return
            except Exception as error:  # noqa: BLE001 - that it was raised at all is what is to be told
                self.ledger.answer(token, UNKNOWN, repr(error))
                self.ledger.complain(f"{token}: raised {traceback.format_exc()[-450:]}")
            time.sleep(0.05)

    def api(self) -> None:
        """`Maildir.deliver` with an id, tried again until it is taken."""
        token = self.ledger.token("api", with_id=True)
        name = f"api{int(token.partition('-')[2]) // PER_MAILDIR}"

        def one_try() -> None:
            self._box(name).deliver(message(token), delivery_id=token)

        self._until_taken(token, one_try)

    def plain(self) -> None:
        """`Maildir.deliver` without an id."""
        token = self.ledger.token("plain")
        self._until_taken(token, lambda: self._box("plain").deliver(message(token)) and None)

    def batch(self) -> None:
        """`Maildir.deliver_many`."""
        from maildir_safe import PartialDelivery

        tokens = [self.ledger.token("batch") for _ in range(5)]
        try:
            results: list[object] = list(self._box("batch").deliver_many([message(one) for one in tokens]))
        except PartialDelivery as partial:
            results = list(partial.results)
        except TemporaryError as error:
            results = [error] * len(tokens)
        for token, result in zip(tokens, results, strict=True):
            unknown = isinstance(result, UnknownOutcome)
            kind = UNKNOWN if unknown else REFUSED if isinstance(result, BaseException) else ACK
            self.ledger.answer(token, kind, result if kind != ACK else "")

    def drop(self) -> None:
        """`maildir_safe.mailbox.Maildir.add`, and what it reads back."""
        token = self.ledger.token("drop")
        keys: list[str] = []
        self._until_taken(token, lambda: keys.append(self.drop_in.add(message(token))))
        for key in keys:
            try:
                data = self.drop_in.get_bytes(key)
            except (TemporaryError, OSError, KeyError):
                continue
            if data != message(token):
                self.ledger.complain(f"{token}: the drop-in read {len(data)} bytes of {len(message(token))}")

    def command(self) -> None:
        """``maildir-safe deliver``, a process a message; only 0 and 75 may come of it."""
        token = self.ledger.token("deliver", with_id=True)
        box = self.mount / f"cli{int(token.partition('-')[2]) // PER_MAILDIR}"
        words = [sys.executable, "-m", "maildir_safe", "deliver", "--delivery-id", token, str(box)]
        self._run_until_taken(token, words, message(token))

    def sendmail(self) -> None:
        """``maildir-safe sendmail``, a process a message; only 0 and 75 may come of it."""
        token = self.ledger.token("sendmail")
        words = [sys.executable, "-m", "maildir_safe", "sendmail", "-f", "s@example.org", "r@example.org"]
        data = _COMPLETE + message(token)
        self._run_until_taken(token, words, data)

    def _run_until_taken(self, token: str, words: list[str], data: bytes) -> None:
        """Run a command until it exits with 0; 75 is tried again, and anything else is wrong."""
        for _ in range(TRIES):
            done = subprocess.run(words, input=data, env=self._environment, capture_output=True, check=False)
            if done.returncode == 0:
                self.ledger.answer(token, ACK)
                return
            text = done.stderr.decode(errors="replace")[-300:]
            self.ledger.answer(token, UNKNOWN if done.returncode == 75 else PERMANENT, text)
            if done.returncode != 75:
                return

    def worker(self) -> None:
        """``maildir-safe work`` for some seconds; then it is told to stop, or killed."""
        words = ["work", str(self.mount / "spool"), "--to", f"maildir:{self.mount}/queued", "--lease", "30"]
        process = subprocess.Popen(
            [sys.executable, "-m", "maildir_safe", *words], stderr=subprocess.PIPE, text=True
        )
        killer = threading.Timer(
            10.0 + 20.0 * self.chance.random(),
            process.kill if self.chance.random() < 0.3 else process.terminate,
        )
        killer.start()
        try:
            _, said = process.communicate()
        finally:
            killer.cancel()
        if process.returncode not in (0, 75, -signal.SIGKILL, -signal.SIGTERM) or "Traceback" in said:
            self.ledger.complain(f"work ended with {process.returncode}: {said[-400:]}")

    def client(self, address: str, door: str, recipient: str, lmtp: bool = False) -> None:
        """A message by SMTP, or by LMTP with an ENVID; only 250 and 4xx may come of it."""
        token = self.ledger.token(door, with_id=lmtp)
        host, _, port = address.rpartition(":")
        kind, options = (smtplib.LMTP, [f"ENVID={token}"]) if lmtp else (smtplib.SMTP, [])
        data = message(token).replace(b"\n", b"\r\n")
        for _ in range(TRIES):
            try:
                with kind(host, int(port), timeout=120) as smtp:
                    smtp.sendmail("s@example.org", [recipient], data, mail_options=options)
                self.ledger.answer(token, ACK)
                return
            except smtplib.SMTPResponseException as error:
                self._smtp_said(token, error.smtp_code, error.smtp_error)
            except smtplib.SMTPRecipientsRefused as error:
                self._smtp_said(token, *error.recipients[recipient])
            except (OSError, smtplib.SMTPException) as error:
                self.ledger.answer(token, UNKNOWN, repr(error))
            time.sleep(0.1)

    def _smtp_said(self, token: str, code: int, text: bytes | str) -> None:
        self.ledger.answer(token, PERMANENT if code >= 500 else UNKNOWN, f"{code} {text!r}")

    def put(self) -> None:
        """`Queue.put`."""
        token = self.ledger.token("queue")

        def one_try() -> None:
            self.queue.put(message(token), "s@example.org", ["r@example.org"])

        self._until_taken(token, one_try)

    def work(self) -> None:
        """Claim and deliver into a Maildir on the mount; now and then give back or retry instead."""
        try:
            claims = self.queue.claim(5, wait=0.5)
        except TemporaryError:
            return
        for claim in claims:
            try:
                how = self.chance.random()
                if how < 0.05:
                    claim.release()
                elif how < 0.1:
                    claim.retry(1.0)
                else:
                    claim.ack_into(self.target)
            except LeaseLost as error:  # so long could the lease not be renewed
                self.ledger.remark(f"{claim.id}: {error}")
            except TemporaryError:
                pass
            except PermanentError as error:  # damaged: whether it was promised, the ledger knows at the end
                self.ledger.remark(f"{claim.id}: {error}")

    def read(self) -> None:
        """A mail reader: read whole, set a flag."""
        for name in ("plain", "batch", "queued"):
            box = self.target if name == "queued" else self._box(name)
            try:
                messages = list(box.messages())
            except TemporaryError:
                continue
            for one in self.chance.sample(messages, min(5, len(messages))):
                self._read_one(box, one.key)
        time.sleep(0.2)

    def _read_one(self, box: Maildir, key: str) -> None:
        try:
            with box.open(key) as file:
                data = file.read()
        except PermanentError as damaged:
            self.ledger.complain(f"{box.path}: {key}: {damaged}")
            return
        except (KeyError, TemporaryError, OSError):
            return
        if not data or not data.endswith(b"end\n"):
            self.ledger.complain(f"{box.path}: {key} was read as {len(data or b'')} bytes")
        with contextlib.suppress(KeyError, TemporaryError):
            box.set_flags(key, self.chance.choice(["S", "RS", ""]))

    def _box(self, name: str) -> Maildir:
        """A Maildir in use, opened anew now and then."""
        used, box = self._boxes.get(name, (0, None))
        if box is None or used > 50:
            used, box = 0, Maildir(self.mount / name)
        self._boxes[name] = (used + 1, box)
        return box

    def loop(self, role: Role) -> threading.Thread:
        """A thread that does one role until the end."""

        def run() -> None:
            while not self.stopping.is_set():
                try:
                    role()
                except TemporaryError:
                    time.sleep(0.1)
                except (mailbox.Error, OSError, ValueError, TypeError, AttributeError) as error:
                    what = f"{getattr(role, '__name__', role)}: raised {error!r}"
                    self.ledger.complain(f"{what}, {traceback.format_exc()[-400:]}")
                time.sleep(0.01)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread
