"""The handoff of a message: publishing it by rename, and making that durable."""
