"""Orders that VMPooler's API leaves in Redis for the pool manager."""
