"""What a peer is."""

from __future__ import annotations

import os
from dataclasses import dataclass

from benchmarks.deliver_rounds import Contender


@dataclass(frozen=True)
class Peer:
    """A program that delivers into a Maildir.

    Attributes:
        contender: how it is run.
        program: its file; it is installed if that is there.
        package: what to install (Debian).
    """

    contender: Contender
    program: str
    package: str

    @property
    def installed(self) -> bool:
        """Whether it can take part."""
        return os.access(self.program, os.X_OK)
