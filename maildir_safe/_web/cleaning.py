"""A message's HTML as a page for the sandboxed frame: cleaned by nh3, in a process of its own.

nh3 builds the tree that a browser builds, and lets pass what `cleaner.py` names. For some pages that
tree is huge: 28 KB of ``<p><font size=N>`` cost nh3 gigabytes, 400 KB of ``<div>`` minutes. The process
may use 3 seconds of processor time and 512 MiB. For what needs more, the page has the text alone.
"""

from __future__ import annotations

import html
import importlib.util
import subprocess

from maildir_safe._child import DIRECTORY, command
from maildir_safe._mail.html import plain_text, with_images
from maildir_safe._mail.message import Mail

if importlib.util.find_spec("nh3") is None:
    raise ImportError("No module named 'nh3'")

_SECONDS = 60.0  # on the clock: the machine may be loaded
_PLAIN = (
    '<!doctype html><meta charset="utf-8"><p style="font-family:sans-serif">This HTML is too intricate to be'
    ' shown safely. Its text:</p><pre style="white-space:pre-wrap">{}</pre>'
)


def framed(mail: Mail, remote: bool = False) -> str:
    """The page that shows the HTML of a message, with the message's own images.

    It has no scripts, forms or frames, and nothing by which a browser connects before it applies the
    policy that must be sent with it. Its styles are those of the message.

    Args:
        mail: the message.
        remote: whether the user wants images and styles from the network; their addresses stay in any
            case, but a ``<link>`` to a style sheet only then.
    """
    page = mail.html or ""
    cleaned = _cleaned(page, remote)
    return (
        _PLAIN.format(html.escape(plain_text(page))) if cleaned is None else with_images(cleaned, mail.images)
    )


def _cleaned(page: str, remote: bool) -> str | None:
    """The page; None: it needs too much time or memory."""
    words = command("maildir_safe._web.cleaner", *["remote"] * remote)
    try:
        done = subprocess.run(
            words, input=page.encode("utf-8", "replace"), capture_output=True, cwd=DIRECTORY, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.decode() if done.returncode == 0 and done.stdout else None
