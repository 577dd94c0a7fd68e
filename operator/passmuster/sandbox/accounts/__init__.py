"""Accounts to try things out on: what `make demo` opens with and what tests inspect, built on a simulated AWS.

An account is built the way accounts are: by stacks, whose templates lie in `stacks/`, and by what pipelines and people
made beside them.
"""
