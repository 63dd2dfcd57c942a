"""Rules for graph operators, one family a file; importing the package fills the table."""

from app.lipschitz.network.rules import (
    affine,
    elementwise,
    merge,
    movement,
    normalization,
    pooling,
    reduction,
    refused,
    resampling,
)
from app.lipschitz.network.rules.table import RULES

__all__ = [
    "RULES",
    "affine",
    "elementwise",
    "merge",
    "movement",
    "normalization",
    "pooling",
    "reduction",
    "refused",
    "resampling",
]
