"""The front end of the operator: watches, the HTTP port, start and stop. The only layer that imports kopf."""
