"""Reading a stranger's message: header fields, addresses, charsets, MIME parts.

The standard library's `email` package needs minutes for some messages of a few hundred kilobytes,
and raises on others. Everything here takes time in proportion to the bytes read, limits every
length, depth and count, and never raises because of a message's content.

`charsets.py` bytes to text · `words.py` encoded words · `fields.py` a header's fields ·
`addresses.py` mailboxes · `parameters.py` ``name=value`` after a type · `transfer.py` base64 and
quoted-printable · `structure.py` the tree of parts · `summary.py` an entry of a list ·
`message.py` a whole message · `everything.py` a message as it is searched ·
`html.py` HTML as it is shown and searched.
"""
