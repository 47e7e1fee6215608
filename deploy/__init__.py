"""What deploys the functions: manifests for Kubernetes, and the local stack."""
