"""The inbox page and its JSON API over one mailbox or several; extra ``server``.

The page serves Maildirs and is not a mail client: it can list, read, search, delete and wait.
`mailbox_set.py` holds the mailboxes, `inbox.py` keeps a list of their messages, `search.py` searches
them, `pages.py` answers browsers, `api.py` answers programs, the modules `mailpit*.py` answer clients
of Mailpit, `guard.py` refuses requests of other sites, `password.py`, `prefix.py` and `tls_door.py`
are for a page that a team uses, and `app.py` puts all together. The content of messages is read by
`maildir_safe._mail`.
"""
