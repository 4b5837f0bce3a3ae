"""Connections, sessions, processes."""
