"""The inspection of one pool: orders, inventory, guards, the checks that are due, and the clones that it lacks."""
