"""The use cases: each takes settings, a database and a clock, and returns a result. A cycle is begun by its `run()`."""
