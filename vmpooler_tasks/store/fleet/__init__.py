"""Workers, beats, schedule, audit and sessions."""
