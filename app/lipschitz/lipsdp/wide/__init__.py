"""Chains of wide layers: all but a few eliminated, gradients instead of second derivatives."""
