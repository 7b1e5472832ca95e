"""Runs of redrives in Redis."""
