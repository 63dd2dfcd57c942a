"""Bounds of every entry of the Jacobian on the domain."""
