"""What a worker or beat shows of itself: log, liveness, heartbeat, metrics."""
