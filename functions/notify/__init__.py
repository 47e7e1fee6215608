"""The `notify` function: tells callers' webhooks that a task has ended."""
