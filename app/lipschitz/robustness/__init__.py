"""Radii around the rows of a data set within which the prediction does not change."""
