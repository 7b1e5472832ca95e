"""What a purge changes in Redis, and its record of how the last cycle went."""
