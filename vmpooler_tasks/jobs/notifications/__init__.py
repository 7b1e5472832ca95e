"""Notify people of a change of the health status: observe it, and send what is due to each target."""
