"""Faults of every kind on the real stack, then the promises checked in Firestore, the cluster and the webhooks."""
