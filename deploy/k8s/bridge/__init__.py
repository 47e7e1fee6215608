"""What Pub/Sub pushes do elsewhere."""
