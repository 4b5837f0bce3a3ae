"""The application, for `INSTALLED_APPS`: it has the command `maildir_safe_work`, and no models."""

from __future__ import annotations

from django.apps import AppConfig


class MaildirSafeConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """The application `maildir_safe.contrib.django`, under a label that says whose it is."""

    name = "maildir_safe.contrib.django"
    label = "maildir_safe"
