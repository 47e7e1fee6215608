"""Watches Jobs, records results, opens batches, finishes tasks."""
