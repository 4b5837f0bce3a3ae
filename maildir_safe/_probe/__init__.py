"""Probes a mount: its calls, names, caches and races."""
