"""`vmpooler-tasks doctor`: its checks, and what to do about what they find."""
