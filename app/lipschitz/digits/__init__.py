"""The captured graph in long arithmetic: what a pair of points really attains, with the stored weights."""
