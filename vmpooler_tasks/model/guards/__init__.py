"""What keeps these workers from destroying too much."""
