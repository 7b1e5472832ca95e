"""On-demand requests: create, fulfil, show."""
