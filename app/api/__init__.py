"""The HTTP edge: translates requests into records and records into answers."""
