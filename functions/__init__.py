"""The deployed functions, one folder each."""
