"""Two models of the same inputs and outputs: how far they are apart, and where."""
