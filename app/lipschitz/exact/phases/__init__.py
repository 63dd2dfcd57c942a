"""Branch and bound over the phases of piecewise linear activations."""
