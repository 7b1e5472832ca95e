"""Run dead letters again: options, what is eligible, and a run that any worker can resume."""
