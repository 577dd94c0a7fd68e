"""The only layer that speaks to the Kubernetes API: objects, status, events, the lease."""
