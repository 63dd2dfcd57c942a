"""The database and the files: all SQL, every byte on the disk."""
