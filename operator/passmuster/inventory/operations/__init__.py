"""Calls that several checks read, one module per service, so that their kept fields are agreed on in one place, with
what several checks ask of the rows.

A call that a single check reads is declared beside that check; two declarations of one operation are still made once.
"""
