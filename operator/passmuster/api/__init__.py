"""The Kubernetes API of Passmuster: kinds, conditions, admission and the manifests generated from them.

One module per kind (`account`, `policy`, `report`, `remediation`) holds pydantic models; everything a cluster is given
(`crds/`) is derived from them. Pure: nothing here talks to a cluster, reads a clock or the environment.
"""
