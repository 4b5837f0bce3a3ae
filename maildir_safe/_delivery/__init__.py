"""Delivery of messages: their content, jobs, attempts and the pipeline."""
