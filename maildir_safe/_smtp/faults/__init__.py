"""Scripted faults."""
