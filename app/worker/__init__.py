"""What runs inside the child process."""
