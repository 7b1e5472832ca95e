"""A complete installation on one machine, for trying it out and for development: `vmpooler-tasks run`."""
