"""Where state lives: Firestore, and the same in memory for tests."""
