"""What VMPooler's own program reads of the configuration."""
