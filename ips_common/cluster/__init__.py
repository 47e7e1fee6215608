"""Adapters to Kubernetes: the real one, and one in memory for tests."""
