"""Notifications of a change of the health status: what they say, and in which form each target takes them."""
