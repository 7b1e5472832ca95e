"""What is known of the guards of pools: brakes, and the records of managed and removed pools."""
