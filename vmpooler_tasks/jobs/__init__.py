"""The use cases. Each takes settings, a database and a clock, and returns a typed result."""
