"""Pools as values: the life of a VM, names, retries, permanent errors."""
