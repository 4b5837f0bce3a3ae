"""Runs blocks of Python, each a length and so many characters on standard input, in one namespace."""

from __future__ import annotations

import doctest
import sys
import traceback

NAMESPACE = {"__name__": "__main__"}


def run(code: str) -> None:
    """Run statements, or check a dialogue (``>>>``); what is wrong is printed as a traceback."""
    if not code.lstrip().startswith(">>>"):
        exec(compile(code, "<page>", "exec"), NAMESPACE)
        return
    test = doctest.DocTestParser().get_doctest(code, NAMESPACE, "page", None, 0)
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test, clear_globs=False)
    NAMESPACE.update(test.globs)
    if runner.failures:
        print("Traceback: the dialogue is another")


def main() -> None:
    """Until standard input ends."""
    while length := sys.stdin.readline():
        try:
            run(sys.stdin.read(int(length)))
        except BaseException:  # noqa: BLE001 - the page's test sees it
            traceback.print_exc()
        print("-- end of command", flush=True)


main()
