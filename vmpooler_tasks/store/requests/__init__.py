"""On-demand requests in Redis."""
