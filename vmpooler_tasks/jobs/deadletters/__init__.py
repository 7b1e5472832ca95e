"""Dead letters: search and group them, delete them, and keep only as many as configured."""
