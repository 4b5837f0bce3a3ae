"""Delivering: a message's content, its job, the attempts, the pipeline."""
