"""Metrics for others: Prometheus, StatsD, Graphite."""
