"""Where accepted messages go."""
