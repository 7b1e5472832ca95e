"""Notifications in Redis: the status of which the targets know, and what is still to be sent to each."""
