"""What can be changed and how it would look: the catalogue of remediations, rendering, ownership, cost. Pure.

Nothing here talks to AWS; the engine makes the changes that are rendered here.
"""
