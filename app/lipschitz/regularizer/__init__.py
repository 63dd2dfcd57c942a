"""AutoLip as a differentiable penalty for training loops."""

from app.lipschitz.regularizer.penalty import AutoLipRegularizer

__all__ = ["AutoLipRegularizer"]
