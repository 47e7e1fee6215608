"""What every cluster needs."""
