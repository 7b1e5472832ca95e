"""What a purge does to the queues in Redis, and how the last cycle went."""
