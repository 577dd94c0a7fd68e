"""What is read from an account and what it looked like: calls, the snapshot they fill, the permissions they need."""
