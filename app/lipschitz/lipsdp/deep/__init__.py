"""Chains of many layers: block tridiagonal systems, eliminated layer by layer."""
