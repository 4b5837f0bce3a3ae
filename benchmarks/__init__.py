"""The comparisons that this project publishes, and the mounts they are made on. Not installed."""
