"""What Cloud Scheduler does elsewhere."""
