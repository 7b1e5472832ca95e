"""Runs dead letters again: selection, preview, and a run that any worker can resume."""
