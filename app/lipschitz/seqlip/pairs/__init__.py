"""Pairs of consecutive layers bounded together over all slopes of the activation between [VS18, section 5]."""
