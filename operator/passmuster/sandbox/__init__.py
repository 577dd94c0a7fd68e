"""A simulated AWS and a local Kubernetes API on one machine, for the tests and the demo; the product never needs it."""
