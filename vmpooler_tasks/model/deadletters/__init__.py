"""Dead letters as values: how an entry is written and read, and what selects one."""
