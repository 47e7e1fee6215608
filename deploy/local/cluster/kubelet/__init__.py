"""The simulated nodes: registries, pulls, and what a kubelet does with a pod."""
