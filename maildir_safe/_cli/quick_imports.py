"""Loads our own modules in fewer steps than importlib, for the commands that start once a message.

importlib asks the finders of `sys.path` and makes eleven system calls for each module: with the modules of
`sendmail` that is a third of its run. We know where our modules are, so that four calls are enough. What is
not the ordinary case (no .pyc file, or that of another source; optimised code; a zip file) is left to
importlib, and so is every error.
"""

from __future__ import annotations

import marshal
import posix
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any

_BY_TIME = b"\0\0\0\0"  # the .pyc file belongs to a source of a certain time and size
_HEADER = 16
_LARGEST = 1 << 16  # more would be mapped anew for each file
_LOW_BITS = 0xFFFFFFFF


def install(package: str, directory: str) -> None:
    """Let later imports of a package's modules take the short way.

    Args:
        package: its name.
        directory: where its files are.
    """
    if sys.flags.optimize == 0 and sys.pycache_prefix is None:
        sys.meta_path.insert(0, Finder(package, directory))


class Finder:
    """Finds the modules of one package; an entry of `sys.meta_path`. Arguments: those of `install`."""

    def __init__(self, package: str, directory: str) -> None:
        self._prefix = f"{package}."
        self._directory = directory
        self._compiled = f".{sys.implementation.cache_tag}.pyc"

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`. None: the finders after this one are asked."""
        if not name.startswith(self._prefix):
            return None
        place = f"{self._directory}/{name[len(self._prefix) :].replace('.', '/')}"
        return self._spec(name, place) or self._spec(name, f"{place}/__init__", place)

    def _spec(self, name: str, stem: str, package: str = "") -> ModuleSpec | None:
        above, _, last = stem.rpartition("/")
        source, compiled = f"{stem}.py", f"{above}/__pycache__/{last}{self._compiled}"
        code = _code(source, compiled)
        if code is None:
            return None
        spec = ModuleSpec(name, _Loader(code), origin=source)  # type: ignore[arg-type]
        spec.submodule_search_locations = [package] if package else None
        spec.has_location = True
        spec.cached = compiled
        return spec


class _Loader:
    """Runs the code of one module."""

    def __init__(self, code: CodeType) -> None:
        self._code = code

    def create_module(self, spec: ModuleSpec) -> None:
        """See `importlib.abc.Loader`: None is an ordinary module."""

    def exec_module(self, module: ModuleType) -> None:
        """See `importlib.abc.Loader`."""
        exec(self._code, module.__dict__)


def _code(source: str, compiled: str) -> CodeType | None:
    """The code in a .pyc file; None if it is not certainly that of this source and this interpreter."""
    try:
        about = posix.stat(source)
        fd = posix.open(compiled, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            data = posix.read(fd, _LARGEST)
        finally:
            posix.close(fd)
        stamp = b"".join(
            (int(number) & _LOW_BITS).to_bytes(4, "little") for number in (about.st_mtime, about.st_size)
        )
        if data[:_HEADER] != MAGIC_NUMBER + _BY_TIME + stamp:
            return None
        code: Any = marshal.loads(memoryview(data)[_HEADER:])
    except (OSError, ValueError, EOFError, TypeError):
        return None
    return code if type(code) is type(_code.__code__) else None
