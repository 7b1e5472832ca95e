"""Pools as values: the lifecycle of a VM, results of work on it, names, retries, permanent errors."""
