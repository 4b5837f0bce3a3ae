"""The backends that store accepted messages."""
