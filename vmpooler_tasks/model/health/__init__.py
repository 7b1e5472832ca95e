"""The health status as values: what was measured, the reasons, and how they are assessed."""
