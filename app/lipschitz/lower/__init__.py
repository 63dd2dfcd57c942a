"""Lower bounds: each comes with a pair of points that attains it."""
