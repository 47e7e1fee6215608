"""The control loops of the simulated control plane; each watches the store and writes through the registry."""
