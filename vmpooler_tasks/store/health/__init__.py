"""What a health check reads beside the queues, and the status and history that it records."""
