"""`vmpooler-tasks dlq redrive`: its arguments, its previews and its runs."""
