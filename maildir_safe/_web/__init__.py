"""The inbox page and its JSON API over a Maildir; extra ``server``.

The page serves the Maildir and is not a mail client: it can list, read, search, delete and wait.
`inbox.py` keeps a list of the messages, `search.py` searches them, `pages.py` answers browsers,
`api.py` answers programs, the modules `mailpit*.py` answer clients of Mailpit, `guard.py` refuses
requests of other sites, and `app.py` puts all together. The content of messages is read by
`maildir_safe._mail`.
"""
