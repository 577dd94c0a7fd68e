"""The ways in which an account is changed, each as the steps of one life: prepare, proceed, undo.

`engine.remediate` decides whether and when; a way knows how, and derives where it is from what AWS describes. A way
knows no other way; they share `course` (what the state machine asks of a way), `own_stack` (a stack of ours),
`updating` (one update of one resource of a stack), `resource` (who holds it) and `recording` (what was there before).
"""
