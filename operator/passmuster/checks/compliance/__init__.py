"""Compliance checks of the readiness catalogue, one module each."""
