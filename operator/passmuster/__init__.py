"""Passmuster keeps AWS accounts production ready.

The packages below are layers; ARCHITECTURE.md draws them and says what each may import.
Nothing happens at import.
"""

__version__ = "0.1.0"
