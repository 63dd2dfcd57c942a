"""Systems as whole matrices: a predictor-corrector interior-point method."""
