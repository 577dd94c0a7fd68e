"""The Prometheus side: one contract of names and labels, one collector. Only here is prometheus_client imported."""
