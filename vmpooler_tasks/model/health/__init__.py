"""The health status as values: what is measured, the reasons, and how they are assessed."""
