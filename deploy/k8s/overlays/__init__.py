"""What differs between kinds of clusters."""
