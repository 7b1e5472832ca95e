"""Whose VM it is: marks of installations, foreign VMs, and VMs of pools that are configured nowhere. docs/pools.md."""
