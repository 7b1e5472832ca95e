"""Runs of redrives in Redis: `runs` keeps them, `steps` moves one dead letter after another."""
