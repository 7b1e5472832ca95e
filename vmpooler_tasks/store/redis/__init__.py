"""The connection, scripts, locks, and how values pass to and from Redis."""
