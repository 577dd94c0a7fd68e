"""The ways in which an account is changed, each as the steps of one life: prepare, proceed, undo.

`engine.remediate` decides whether and when; a way knows how, and derives where it is from what AWS describes. The ways
share nothing but `course` (what the state machine asks of a way) and `updating` (one update of one resource of a
stack).
"""
