"""Backup and disaster recovery checks of the readiness catalogue, one module each."""
