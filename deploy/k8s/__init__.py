"""What a cluster needs, and what may run in it."""
