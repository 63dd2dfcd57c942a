"""What a job is, and who runs it."""
