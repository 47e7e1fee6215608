"""What callers of IPS run: files to take along, of nothing but the standard library."""
