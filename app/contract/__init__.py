"""What is said between the parts of the service, as types. No torch, no FastAPI."""
