"""The functions as pods."""
