"""A whole installation on one machine, for a first look and for development: `vmpooler-tasks run`."""
