"""Creates the Jobs of a batch."""
