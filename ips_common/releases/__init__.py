"""Releases of Cloud Deploy, looked up: its API, and the same in memory for tests."""
