"""AutoLip as a differentiable penalty for training loops."""

from .penalty import AutoLipRegularizer

__all__ = ["AutoLipRegularizer"]
