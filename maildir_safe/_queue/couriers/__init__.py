"""Couriers take messages out of the queue."""
