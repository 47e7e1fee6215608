"""Prometheus rules and the Grafana dashboard, and what checks them against the metrics that the code exports."""
