"""The query of a request, checked: an unknown name or a malformed value is answered with 400."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection


class Query:
    """The query of a request.

    Args:
        request: the request.
        names: the allowed parameters.

    Raises:
        HTTPException: 400, for a parameter that is not allowed or is given twice.
    """

    def __init__(self, request: HTTPConnection, *names: str) -> None:
        self._found: dict[str, str] = {}
        for name, value in request.query_params.multi_items():
            if name not in names:
                known = f"the parameters are: {', '.join(names)}" if names else "this request takes none"
                raise bad(f"{name[:100]}: no such parameter; {known}")
            if name in self._found:
                raise bad(f"{name}: given twice")
            self._found[name] = value

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def text(self, name: str) -> str:
        """The value of a parameter; ``""`` if it was not given."""
        return self._found.get(name, "")

    def integer(self, name: str, default: int, most: int) -> int:
        """A whole number from 0 to `most`. Raises HTTPException: 400."""
        value = self._found.get(name)
        if value is None:
            return default
        if not (value.isascii() and value.isdecimal() and len(value) < 20 and int(value) <= most):
            raise bad(f"{name}: {value[:100]!r} is not a whole number from 0 to {most}")
        return int(value)

    def seconds(self, name: str, default: float, most: float) -> float:
        """A number of seconds from 0 to `most`. Raises HTTPException: 400."""
        text = self._found.get(name)
        if text is None:
            return default
        try:
            value = float(text) if text.isascii() and "_" not in text else -1.0
        except ValueError:
            value = -1.0
        if not 0 <= value <= most:
            raise bad(f"{name}: {text[:100]!r} is not a number of seconds from 0 to {most:g}")
        return value


def bad(text: str) -> HTTPException:
    """The response to a malformed request: 400 with `text`; halves of characters in it become ``?``."""
    return HTTPException(400, text.encode("utf-8", "replace").decode())
