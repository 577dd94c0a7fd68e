"""From a snapshot to a report: judge every check, waive, score, find the level reached. Pure; time is an argument."""
