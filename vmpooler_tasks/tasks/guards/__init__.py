"""What a worker checks before it runs a task of the pool manager."""
