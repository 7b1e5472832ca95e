"""On-demand requests: create, fulfil, expire."""
