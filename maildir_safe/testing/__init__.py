"""Simulated and faulty file systems, for testing mail code. Not used by the rest of the package."""
