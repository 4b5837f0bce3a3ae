"""What the project's documents and releases are made with; never installed."""
