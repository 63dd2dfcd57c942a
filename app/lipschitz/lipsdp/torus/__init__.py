"""Chains of convolutions in the Fourier domain."""
