"""CPython's own tests of `mailbox.Maildir`, with `maildir_safe.mailbox.Maildir` in its place.

The tests are those of the interpreter that runs this, unchanged; without pytest:
``python -m unittest cpython_mailbox``, in this directory.
"""

from __future__ import annotations

import contextlib
import mailbox
import os
import tempfile
import unittest
from unittest import mock

from test import test_mailbox as cpython

from maildir_safe.mailbox import Maildir


class _InItsPlace(unittest.TestCase):
    """What `mailbox` calls Maildir is ours; the tests make theirs in the current directory."""

    def setUp(self) -> None:
        self.enterContext(mock.patch.object(mailbox, "Maildir", Maildir))
        self.enterContext(contextlib.chdir(self.enterContext(tempfile.TemporaryDirectory())))
        super().setUp()


class TestMaildir(_InItsPlace, cpython.TestMaildir):
    """Every method, as CPython tests it."""

    def test_uses_ours(self) -> None:
        assert type(self._box) is Maildir

    def test_clean(self) -> None:
        """The one difference: what was written 36 hours ago is removed, whenever it was read."""
        with self.assertRaisesRegex(AssertionError, "True is not false"):  # noqa: PT027 - no pytest here
            super().test_clean()  # removes what was read 36 hours ago and written just now
        for name in os.listdir(f"{self._path}/tmp"):
            os.utime(f"{self._path}/tmp/{name}", (os.stat(self._path).st_mtime,) * 2)
        stale = f"{self._path}/tmp/foo"
        os.utime(stale, (os.stat(stale).st_atime, os.stat(stale).st_mtime - 129600 - 2))
        self._box.clean()
        assert os.listdir(f"{self._path}/tmp") == ["bar"]


class MaildirTestCase(_InItsPlace, cpython.MaildirTestCase):
    """The older tests, of `next`."""
