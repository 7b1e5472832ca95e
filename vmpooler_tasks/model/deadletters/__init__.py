"""Dead letters as values: how an entry is written and read, and the filters that select one."""
