"""Who may do what in the simulated AWS: policy evaluation, principals, STS. front.py asks before serving a call."""
