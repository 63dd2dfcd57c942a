"""The exact constant of a piecewise linear network: its linear pieces, one phase pattern after another."""
