"""The Maildir."""
