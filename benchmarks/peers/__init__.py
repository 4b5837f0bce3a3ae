"""Other people's delivery programs, as contenders: those that Debian has packages of."""

from __future__ import annotations

from benchmarks.peers.dovecot import DOVECOT
from benchmarks.peers.peer import Peer
from benchmarks.peers.postfix import POSTFIX
from benchmarks.peers.programs import PROGRAMS

PEERS: tuple[Peer, ...] = (*PROGRAMS, DOVECOT, POSTFIX)

__all__ = ["PEERS", "Peer"]
