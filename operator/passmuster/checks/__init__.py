"""The readiness catalogue: one file, one check.

`declaration` says what a check is, `catalogue` finds them all, `judge` runs one; the folders below hold the checks by
category. A check imports model, inventory and `declaration`, and never another check.
"""
