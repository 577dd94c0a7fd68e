"""The use cases: inspect, propose, apply, verify; the work queue; what the operator knows in memory.

Nothing here speaks to Kubernetes or AWS by itself: `ports` says what the engine needs of a cluster, the aws layer
brings the account.
"""
