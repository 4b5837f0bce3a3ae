"""The inbox page and its JSON API over a Maildir; extra ``server``.

It serves the Maildir and is not a mail client: list, read, search, delete, wait. The whole of it is
`inbox.py` (what is in the Maildir), `mail.py` (what is in a message), `pages.py` and `api.py` (what
is sent to the browser and to programs), `app.py` (who may ask).
"""
