"""Reading a stranger's message: header fields, addresses, charsets, MIME parts.

The standard library's `email` package needs minutes for some messages of a few hundred kilobytes,
and raises on others. Everything here takes time in proportion to the bytes read, has a limit for
whatever can be long, deep or many, and never raises for what a message contains.

`charsets.py` bytes to text · `words.py` encoded words · `fields.py` a header's fields ·
`addresses.py` mailboxes · `parameters.py` ``name=value`` behind a type · `transfer.py` base64 and
quoted-printable · `structure.py` the tree of parts · `summary.py` a line of a list ·
`message.py` a whole message · `html.py` HTML as it is shown and searched.
"""
