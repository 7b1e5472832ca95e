"""Auto-purge: one cycle over all queues, orphaned metadata and stuck requests. docs/operator-guide.md: Auto-Purge."""
