"""Use cases: check, write, enqueue on commit."""
