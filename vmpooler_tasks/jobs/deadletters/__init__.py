"""Dead letters: search, group, delete, keep."""
