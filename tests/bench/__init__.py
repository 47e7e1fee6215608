"""The figures the product is held to, each against a baseline in the same run: `make bench`."""
