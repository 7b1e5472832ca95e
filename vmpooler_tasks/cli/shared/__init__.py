"""What the commands share: global options, settings and database, output."""
