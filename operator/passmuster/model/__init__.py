"""The vocabulary every other layer speaks: verdicts, findings, reports, plans, errors.

Only the standard library is imported here, and nothing here reads a clock, a network or the environment.
"""
