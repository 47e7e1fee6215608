"""Calling webhooks: where they may lead, how events are signed, the call itself and the same in memory for tests."""
