"""AutoLip's walk [VS18, Algorithm 1], and the bounds that are made of it."""
