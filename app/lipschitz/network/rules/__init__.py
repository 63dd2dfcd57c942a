"""Rules for graph operators, one family a file; importing the package fills the table."""

from app.lipschitz.network.rules import (
    affine,
    angles,
    attention,
    elementwise,
    merge,
    movement,
    normalization,
    norms,
    pooling,
    power,
    product,
    reduction,
    refused,
    resampling,
    softmax,
)
from app.lipschitz.network.rules.table import RULES

__all__ = [
    "RULES",
    "affine",
    "angles",
    "attention",
    "elementwise",
    "merge",
    "movement",
    "normalization",
    "norms",
    "pooling",
    "power",
    "product",
    "reduction",
    "refused",
    "resampling",
    "softmax",
]
