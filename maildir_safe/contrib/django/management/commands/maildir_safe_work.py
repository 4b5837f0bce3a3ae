"""``manage.py maildir_safe_work``: the worker that sends what the backend has queued."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from maildir_safe._cli import work
from maildir_safe._queue.queue import Queue
from maildir_safe.errors import MaildirSafeError

if TYPE_CHECKING:
    from collections.abc import Iterator

_WITH_VALUE = (
    "to", "password_file", "relays", "bounces_to", "hostname", "concurrency", "per_destination", "timeout",
    "warn_after",
)  # fmt: skip


class Command(BaseCommand):  # type: ignore[misc]  # Django has no types
    """Works the spool that the settings name, with the options of ``maildir-safe work``."""

    help = "Send the mail in the spool MAILDIR_SAFE_SPOOL to the next server, until stopped."
    requires_system_checks: list[str] = []  # mail is sent even while the site has errors

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments: those of the worker that a site needs, under the same names."""
        work.add_sending(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        """Work until SIGTERM, SIGHUP or SIGINT. The spool is made if there is none.

        Raises:
            CommandError: the arguments or the settings are wrong, or with ``--once`` nothing could be sent.
        """
        spool = getattr(settings, "MAILDIR_SAFE_SPOOL", None)
        if not spool:
            raise CommandError("set MAILDIR_SAFE_SPOOL to the path of a spool")
        try:
            Queue(spool).close()
        except (MaildirSafeError, ValueError) as error:
            raise CommandError(str(error), returncode=work.TRY_AGAIN) from error
        parser = argparse.ArgumentParser()
        work.add_arguments(parser)
        code = work.run(parser.parse_args([*_words(options), "--", str(spool)]))
        if code:
            raise CommandError("the worker ended with an error", returncode=code)


def _words(options: dict[str, Any]) -> Iterator[str]:
    for name in _WITH_VALUE:
        if options.get(name) is not None:
            yield f"--{name.replace('_', '-')}={options[name]}"
    if options.get("once"):
        yield "--once"
