"""Maildir delivery for other people's servers and frameworks, each with a dependency of its own."""
