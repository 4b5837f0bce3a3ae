"""Handing a message over by rename, and making that durable."""
