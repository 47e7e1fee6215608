"""Everything that runs IPS on one machine."""
