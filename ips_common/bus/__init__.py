"""How functions are told that there is work: Pub/Sub, and the same in memory for tests."""
