"""Maildir delivery for other servers and frameworks; each module needs the framework it serves."""
