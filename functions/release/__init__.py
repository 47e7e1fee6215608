"""The `release` function: turns release events into tasks."""
