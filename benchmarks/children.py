"""The environment of the processes that a benchmark starts, whatever that of the benchmark is."""

from __future__ import annotations

import os

ENVIRONMENT = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""With that variable no byte code is kept: a process for each message compiles our modules anew."""
