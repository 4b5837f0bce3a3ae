"""SMTP and LMTP in, Maildir out (needs the `server` extra).

A message is answered with 250 once it is as durable as its mount can make it, and not before. A
storage error is answered with 451 or 452, never with a permanent code.
"""
