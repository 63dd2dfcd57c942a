"""What is known of every node on the domain."""
