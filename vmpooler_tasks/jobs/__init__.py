"""The use cases: each takes what it needs, and has one `run()` that returns a result."""
