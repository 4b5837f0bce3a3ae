"""What a soak was told of each message, and the comparison with what is there in the end."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

SHOWN = 40
"""Most messages of each kind that a verdict names."""

ACK, UNKNOWN, REFUSED, PERMANENT = "ack", "unknown", "refused", "permanent"


def message(token: str) -> bytes:
    """A message that tells whether it is complete; some are longer than any buffer."""
    digest = hashlib.sha256(token.encode()).hexdigest()
    lines = 1 + int(digest[:2], 16) % 50 + (4000 if digest[2] in "01" else 0)
    return f"Subject: {token}\n\n".encode() + (digest.encode() + b"\n") * lines + b"end\n"


@dataclass
class Account:
    """One message: where it was handed in, and what was answered at each try.

    Attributes:
        door: which way it went.
        with_id: its tries carried one id, so that one copy is promised whatever was answered.
        answers: in order.
        words: what was said with the last answer that was not good.
    """

    door: str
    with_id: bool
    answers: list[str] = field(default_factory=list)
    words: str = ""


class SoakLedger:
    """Thread-safe. What was handed in, and what the answers were."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.accounts: dict[str, Account] = {}
        self.wrong: list[str] = []
        self.odd: list[str] = []
        self._numbers: Counter[str] = Counter()

    def token(self, door: str, with_id: bool = False) -> str:
        """A new message's name; its account is open."""
        with self._lock:
            self._numbers[door] += 1
            token = f"{door}-{self._numbers[door]}"
            self.accounts[token] = Account(door, with_id)
        return token

    def answer(self, token: str, answer: str, words: object = "") -> None:
        """Enter what a try was told."""
        with self._lock:
            account = self.accounts[token]
            account.answers.append(answer)
            account.words = str(words)[:300] or account.words
            if answer == PERMANENT:
                self.wrong.append(f"{token}: a permanent answer: {words}")

    def remark(self, text: str) -> None:
        """Something that no promise forbids, and that people want to know."""
        with self._lock:
            self.odd.append(text[:500])

    def complain(self, text: str) -> None:
        """Something that must not be, seen by a role."""
        with self._lock:
            self.wrong.append(text[:500])


@dataclass
class Verdict:
    """What came of it.

    Attributes:
        acked: acknowledged, by door.
        lost, doubled, partial, refused: messages with which a promise was broken, with their accounts.
        explained: more copies than one, as many as answers were unclear; never where the tries had an id.
        wrong: what roles complained of.
    """

    acked: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    explained: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.doubled or self.partial or self.refused or self.wrong)

    def __str__(self) -> str:
        doors = ", ".join(f"{door} {count}" for door, count in sorted(self.acked.items()))
        lines = [
            f"acknowledged {sum(self.acked.values())} ({doors})",
            f"lost {len(self.lost)}, partial {len(self.partial)}, doubled {len(self.doubled)} unexplained",
            f"doubled and explained {dict(self.explained)}",
            f"refused and there {len(self.refused)}, complaints {len(self.wrong)}",
        ]
        for name in ("lost", "partial", "doubled", "refused", "wrong"):
            lines += [f"  {name}: {one}" for one in getattr(self, name)[:SHOWN]]
        return "\n".join(lines)


def compare(ledger: SoakLedger, found: Iterable[tuple[str, bytes]], kept: Iterable[bytes]) -> Verdict:
    """Compare what is there with what was promised.

    Args:
        ledger: the accounts.
        found: every visible message: its place and its bytes.
        kept: what the queue still holds, which counts as there.
    """
    verdict = Verdict(wrong=list(ledger.wrong))
    copies: dict[str, list[str]] = defaultdict(list)
    for place, data in found:
        token = _token(data)
        if token not in ledger.accounts or not data.endswith(message(token)):
            verdict.partial.append(f"{place}: {len(data)} bytes, {data[:60]!r}")
            token = token or place.rpartition("/")[2]
        else:
            copies[token].append(place)
    queued = {_token(data) for data in kept}
    for token, account in ledger.accounts.items():
        _judge(token, account, copies[token], token in queued, verdict)
    return verdict


def _judge(token: str, account: Account, places: list[str], queued: bool, verdict: Verdict) -> None:
    answers = Counter(account.answers)
    acked, unclear = answers[ACK], answers[UNKNOWN]
    verdict.acked[account.door] += bool(acked)
    text = f"{token} ({', '.join(account.answers[-8:])}; {account.words}): {places}"
    if acked and not places and not queued:
        verdict.lost.append(text)
    elif not acked and not unclear and places:
        verdict.refused.append(text)
    elif len(places) > 1:
        if not account.with_id and len(places) <= acked + unclear:
            verdict.explained[account.door] += 1
        else:
            verdict.doubled.append(text)


def _token(data: bytes) -> str:
    head = data.partition(b"\n\n")[0]
    lines = [line for line in head.split(b"\n") if line.startswith(b"Subject: ")]
    return lines[0].removeprefix(b"Subject: ").decode("ascii", "replace") if lines else ""
