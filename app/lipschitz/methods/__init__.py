"""One algorithm a file; each takes a `Problem` and its options and gives an `Estimate`."""
